//! `mediaInfo`, `mediaConfig`, `modality` and `callMediaState`.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    json::{BodyError, Extras, Map, Member, Value},
    uri,
};

/// Most UTF-16 code units of a `resourceId`. Graph states none; ours.
pub const MAX_RESOURCE_ID: usize = 256;
/// Most items of `preFetchMedia`. Graph states none; ours.
pub const MAX_PREFETCH: usize = 100;

/// Graph `mediaInfo`: a file and the key to cache it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaInfo {
    /// Absolute http or https URI, or in open mode a [`crate::prompt_uri`], as it came.
    pub uri: String,
    /// Cache key within one application; `None` if absent or empty.
    pub resource_id: Option<String>,
}

/// Graph `modality`; only audio is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Modality {
    Audio,
    Video,
    VideoBasedScreenSharing,
    Data,
    /// Only beta has it.
    Unknown,
}

/// Graph `mediaConfig`: who handles the media of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MediaConfig {
    /// `serviceHostedMediaConfig`: we do. The only one that can play prompts.
    ServiceHosted {
        /// Files to fetch before they are asked for; at most [`MAX_PREFETCH`].
        prefetch: Vec<MediaInfo>,
        /// Further members, echoed: those of beta, and in open mode unknown ones.
        other: Map<String, Value>,
    },
    /// `appHostedMediaConfig`: the bot does, by a blob of Microsoft's media library.
    AppHosted {
        /// Opaque.
        blob: Option<String>,
        /// As above.
        other: Map<String, Value>,
    },
}

/// Graph `callMediaState.audio`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaState {
    /// The far end receives audio.
    Active,
    /// It does not: held, or not connected yet.
    Inactive,
}

impl MediaInfo {
    pub(crate) const DECLARED: [&'static str; 2] = ["uri", "resourceId"];

    /// `uri: null` with a `resourceId` is refused too: a bot was seen that hopes for a cached file
    /// (spec/api.md §3.1), but whether it still is cached would decide between 200 and 400 by
    /// chance. Send the uri each time; the cache then answers from the resourceId.
    pub(crate) fn parse(member: &Member<'_>) -> Result<Self, BodyError> {
        let members = member.members(&Self::DECLARED, Extras::Undeclared)?;
        members.expect_type("mediaInfo")?;
        let uri = members.require("uri", "an absolute http or https URI of a WAV file")?;
        let uri = prompt_uri(&uri)?;
        let resource_id = match members.get("resourceId") {
            Some(member) => Some(member.short_string(MAX_RESOURCE_ID)?),
            None => None,
        };
        let resource_id = resource_id.filter(|id| !id.is_empty()).map(str::to_owned);
        Ok(Self { uri, resource_id })
    }

    /// The object as Graph writes it.
    pub fn render(&self) -> Value {
        media_info(&self.uri, self.resource_id.as_deref())
    }
}

pub(crate) fn media_info(uri: &str, resource_id: Option<&str>) -> Value {
    let mut rendered = json!({ "@odata.type": "#microsoft.graph.mediaInfo", "uri": uri });
    if let Some(id) = resource_id {
        rendered["resourceId"] = id.into();
    }
    rendered
}

/// The URI of a prompt, returned as it came: in open mode it may be one of ours.
fn prompt_uri(member: &Member<'_>) -> Result<String, BodyError> {
    let text = member.string()?;
    match crate::prompt_uri::parse(text).filter(|_| member.dialect().is_open()) {
        Some(own) => match own {
            Ok(_) if text.chars().nth(uri::MAX_URI).is_some() => {
                Err(member.wrong(uri::UriFault::TooLong.to_string()))
            }
            Ok(_) => Ok(text.to_owned()),
            Err(fault) => Err(member.wrong(fault.to_string())),
        },
        None => http_uri(member),
    }
}

/// An http or https URI, returned as it came. Errors do not repeat it: it may hold a signature or
/// a password.
pub(crate) fn http_uri(member: &Member<'_>) -> Result<String, BodyError> {
    let text = member.string()?;
    uri::parse_http(text).map_err(|fault| member.wrong(fault.to_string()))?;
    Ok(text.to_owned())
}

impl Modality {
    const NAMES: [(&'static str, Self); 5] = [
        ("audio", Self::Audio),
        ("video", Self::Video),
        ("videoBasedScreenSharing", Self::VideoBasedScreenSharing),
        ("data", Self::Data),
        ("unknown", Self::Unknown),
    ];

    /// Graph's text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::VideoBasedScreenSharing => "videoBasedScreenSharing",
            Self::Data => "data",
            Self::Unknown => "unknown",
        }
    }

    /// Whether this is the text of one, as the metadata of either version has it.
    pub(crate) fn is_name(text: &str) -> bool {
        Self::NAMES.iter().any(|(name, _)| *name == text)
    }

    /// A list of modalities. Absent means audio in open mode; strict modes want it said.
    pub(crate) fn parse_list(
        member: Result<Member<'_>, BodyError>,
        open: bool,
    ) -> Result<Vec<Self>, BodyError> {
        let member = match member {
            Err(_) if open => return Ok(vec![Self::Audio]),
            member => member?,
        };
        let items = member.items()?;
        let names = match member.dialect().takes_beta() {
            true => &Self::NAMES[..],
            false => &Self::NAMES[..4],
        };
        let mut modalities = Vec::new();
        for item in items {
            let modality = item.one_of(names)?;
            if !modalities.contains(&modality) {
                modalities.push(modality);
            }
        }
        Ok(modalities)
    }

    pub(crate) fn render_list(list: &[Self]) -> Value {
        list.iter().map(|modality| modality.name()).collect()
    }
}

impl MediaConfig {
    const SERVICE_HOSTED: &'static str = "serviceHostedMediaConfig";
    const APP_HOSTED: &'static str = "appHostedMediaConfig";

    /// Whether prompts can be played.
    pub fn is_service_hosted(&self) -> bool {
        match self {
            Self::ServiceHosted { .. } => true,
            Self::AppHosted { .. } => false,
        }
    }

    /// Whether the bot is to be left out of the default mix of a group call
    /// (`removeFromDefaultAudioGroup`, beta).
    pub fn is_apart(&self) -> bool {
        let (Self::ServiceHosted { other, .. } | Self::AppHosted { other, .. }) = self;
        other.get("removeFromDefaultAudioGroup").and_then(Value::as_bool).unwrap_or(false)
    }

    /// The files to fetch ahead; none for app-hosted media.
    pub fn prefetch(&self) -> &[MediaInfo] {
        match self {
            Self::ServiceHosted { prefetch, .. } => prefetch,
            Self::AppHosted { .. } => &[],
        }
    }

    /// The type is abstract, so the tag is needed; open mode infers it from `blob`.
    pub(crate) fn parse(member: &Member<'_>) -> Result<Self, BodyError> {
        let dialect = member.dialect();
        let mut declared = vec!["preFetchMedia", "blob"];
        let beta = ["removeFromDefaultAudioGroup", "liveCaptionOptions"];
        if dialect.takes_beta() {
            declared.extend(beta);
        }
        let members = member.members(&declared, Extras::Undeclared)?;
        let blob = members.get("blob");
        let prefetch = members.get("preFetchMedia");
        let hosted_by_service = match members.type_name()? {
            Some(Self::SERVICE_HOSTED) => true,
            Some(Self::APP_HOSTED) => false,
            Some(tag) => {
                return Err(members.wrong_type(tag, &[Self::SERVICE_HOSTED, Self::APP_HOSTED]));
            }
            None if dialect.is_open() => blob.is_none(),
            None => {
                let what = "required, send #microsoft.graph.serviceHostedMediaConfig";
                return Err(members.wrong("@odata.type", what));
            }
        };
        let mut other = members.unknown();
        if let Some(member) = members.get(beta[0]) {
            other.insert(beta[0].to_owned(), member.boolean()?.into());
        }
        if let Some(member) = members.get(beta[1]) {
            other.insert(beta[1].to_owned(), member.value().clone());
        }
        match (hosted_by_service, prefetch, blob) {
            (true, _, Some(blob)) => {
                Err(blob.wrong("not a member of serviceHostedMediaConfig, leave it out"))
            }
            (false, Some(prefetch), _) => {
                Err(prefetch.wrong("not a member of appHostedMediaConfig, leave it out"))
            }
            (true, None, None) => Ok(Self::ServiceHosted { prefetch: Vec::new(), other }),
            (true, Some(prefetch), None) => {
                let items = prefetch.items()?;
                if items.len() > MAX_PREFETCH {
                    return Err(prefetch.wrong(format!("more than {MAX_PREFETCH} items")));
                }
                let prefetch = items.iter().map(MediaInfo::parse).collect::<Result<_, _>>()?;
                Ok(Self::ServiceHosted { prefetch, other })
            }
            (false, None, blob) => {
                let blob = blob.map(|blob| blob.string().map(str::to_owned)).transpose()?;
                Ok(Self::AppHosted { blob, other })
            }
        }
    }

    /// The object as Graph writes it.
    pub fn render(&self) -> Value {
        let (mut rendered, tag, name, value) = match self {
            Self::ServiceHosted { prefetch, other } => {
                let files = prefetch.iter().map(MediaInfo::render).collect();
                (other.clone(), Self::SERVICE_HOSTED, "preFetchMedia", files)
            }
            Self::AppHosted { blob, other } => {
                (other.clone(), Self::APP_HOSTED, "blob", json!(blob))
            }
        };
        rendered.insert("@odata.type".to_owned(), format!("#microsoft.graph.{tag}").into());
        rendered.insert(name.to_owned(), value);
        rendered.into()
    }
}

impl MediaState {
    /// `callMediaState` with this state of the audio.
    pub fn render(self) -> Value {
        let audio = match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
        };
        json!({ "@odata.type": "#microsoft.graph.callMediaState", "audio": audio })
    }
}
