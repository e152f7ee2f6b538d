//! What a token request says: form fields and Basic credentials, and which resource the token is
//! for. No I/O and no clock.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use graphophone_call::AppId;
use url::{Host, Url, form_urlencoded};

use super::{
    AuthSettings, Secret,
    bearer::{BOT_FRAMEWORK_AUDIENCE, GRAPH_APP_ID, GRAPH_AUDIENCE},
    token_error::{TokenError, quoted},
};

/// Which of the two token endpoints was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// `/oauth2/token`, with `resource=`.
    V1,
    /// `/oauth2/v2.0/token`, with `scope=`.
    V2,
}

/// A request that is complete; nothing in it is checked against the directory yet.
#[derive(Debug)]
pub(super) struct TokenRequest {
    pub(super) app: AppId,
    pub(super) secret: Secret,
    pub(super) resource: Resource,
}

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// The calling API, under whichever of its names.
    Graph,
    /// The Bot Framework: such a token has no roles.
    BotFramework,
    /// A further audience of the configuration.
    Extra(String),
}

impl Resource {
    /// The token's `aud`.
    pub(super) fn audience(&self) -> &str {
        match self {
            Self::Graph => GRAPH_AUDIENCE,
            Self::BotFramework => BOT_FRAMEWORK_AUDIENCE,
            Self::Extra(audience) => audience,
        }
    }
}

/// Reads the form. Fields we do not know are passed over: Microsoft's libraries send a dozen.
///
/// `host` is the host the request was sent to, without port.
pub(super) fn read(
    version: Version,
    body: &[u8],
    authorization: Option<&str>,
    host: Option<&str>,
    settings: &AuthSettings,
) -> Result<TokenRequest, TokenError> {
    let form = Form::parse(body)?;
    match form.get("grant_type") {
        Some("client_credentials") => {}
        Some(other) => return Err(TokenError::BotGrantUnsupported(quoted(other))),
        None => return Err(TokenError::BotParameterMissing("grant_type")),
    }
    let (id, secret) = form.credentials(authorization)?;
    let Ok(app) = id.parse() else {
        return Err(TokenError::BotAppUnknown { app: quoted(&id), tenant: String::new() });
    };
    let resource = form.resource(version, host, settings)?;
    Ok(TokenRequest { app, secret, resource })
}

struct Form(HashMap<&'static str, String>);

impl Form {
    const KNOWN: [&'static str; 5] =
        ["grant_type", "client_id", "client_secret", "scope", "resource"];

    fn parse(body: &[u8]) -> Result<Self, TokenError> {
        let mut fields = HashMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            let Some(known) = Self::KNOWN.into_iter().find(|known| *known == name) else {
                continue;
            };
            // RFC 6749 §3.2: a parameter without a value counts as absent, none may occur twice.
            if !value.is_empty() && fields.insert(known, value.into_owned()).is_some() {
                return Err(TokenError::BotParameterTwice(known));
            }
        }
        Ok(Self(fields))
    }

    fn get(&self, name: &'static str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Client id and secret, from the form or from HTTP Basic (RFC 6749 §2.3.1). Both are fine as
    /// long as they do not contradict each other.
    fn credentials(&self, authorization: Option<&str>) -> Result<(String, Secret), TokenError> {
        let basic = authorization.and_then(basic_credentials);
        let (basic_id, basic_secret) = basic.unzip();
        let one = |name, form: Option<&str>, basic: Option<String>| match (form, basic) {
            (Some(form), Some(basic)) if form != basic => Err(TokenError::BotParameterTwice(name)),
            (Some(form), _) => Ok(Some(form.to_owned())),
            (None, basic) => Ok(basic.filter(|value| !value.is_empty())),
        };
        let id = one("client_id", self.get("client_id"), basic_id)?
            .ok_or(TokenError::BotParameterMissing("client_id"))?;
        let secret = one("client_secret", self.get("client_secret"), basic_secret)?
            .ok_or(TokenError::BotSecretMissing)?;
        Ok((id, Secret::new(secret)))
    }

    fn resource(
        &self,
        version: Version,
        host: Option<&str>,
        settings: &AuthSettings,
    ) -> Result<Resource, TokenError> {
        let (scope, resource) = (self.get("scope"), self.get("resource"));
        match (version, scope, resource) {
            (Version::V1, _, Some(resource)) => resource_named(resource, host, settings)
                .ok_or_else(|| TokenError::BotResourceUnknown(quoted(resource))),
            (Version::V1, None, None) => Err(TokenError::BotParameterMissing("resource")),
            (Version::V2, None, Some(_)) => Err(TokenError::BotResourceOnV2),
            (Version::V2, None, None) => Err(TokenError::BotParameterMissing("scope")),
            (Version::V1 | Version::V2, Some(scope), _) => scope_named(scope, host, settings),
        }
    }
}

/// `{resource}/.default`. Scopes of OpenID that libraries add by habit are passed over.
fn scope_named(
    scope: &str,
    host: Option<&str>,
    settings: &AuthSettings,
) -> Result<Resource, TokenError> {
    let habit = |name: &&str| !matches!(*name, "openid" | "profile" | "offline_access" | "email");
    let mut names = scope.split_ascii_whitespace().filter(habit);
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(TokenError::BotScopeNotDefault(quoted(scope)));
    };
    let resource = name
        .strip_suffix("/.default")
        .ok_or_else(|| TokenError::BotScopeNotDefault(quoted(scope)))?;
    resource_named(resource, host, settings)
        .ok_or_else(|| TokenError::BotScopeUnknown(quoted(scope)))
}

/// Slashes at the end do not count: C# clients ask for `https://graph.microsoft.com//.default`.
fn resource_named(name: &str, host: Option<&str>, settings: &AuthSettings) -> Option<Resource> {
    let name = name.trim_end_matches('/');
    if name.eq_ignore_ascii_case(GRAPH_APP_ID) {
        return Some(Resource::Graph);
    }
    let extra = settings.extra_audiences.iter();
    if let Some(extra) = extra.into_iter().find(|extra| extra.trim_end_matches('/') == name) {
        return Some(Resource::Extra(extra.clone()));
    }
    let url = Url::parse(name).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !plain {
        return None;
    }
    // A client that is told no scope makes one of the host it calls, with or without its port.
    let own = |public: &Url| {
        public.host() == url.host()
            && matches!(url.path().trim_end_matches('/'), path if path.is_empty()
                || path == public.path().trim_end_matches('/'))
    };
    if settings.public_urls.iter().any(own) {
        return Some(Resource::Graph);
    }
    if url.path() != "/" {
        return None;
    }
    match url.host()? {
        Host::Domain("graph.microsoft.com" | "localhost") => Some(Resource::Graph),
        Host::Domain("api.botframework.com") => Some(Resource::BotFramework),
        Host::Ipv4(address) if address.is_loopback() => Some(Resource::Graph),
        Host::Ipv6(address) if address.is_loopback() => Some(Resource::Graph),
        Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_) => {
            (host? == url.host_str()?).then_some(Resource::Graph)
        }
    }
}

/// Id and secret of a Basic credential, both form-encoded inside (RFC 6749 §2.3.1).
fn basic_credentials(authorization: &str) -> Option<(String, String)> {
    let (scheme, encoded) = authorization.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((form_decoded(id), form_decoded(secret)))
}

fn form_decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{APP, SECRET, settings};

    fn form(fields: &[(&str, &str)]) -> Vec<u8> {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into_bytes()
    }

    fn read_scope(scope: &str) -> Result<Resource, TokenError> {
        let mut settings = settings();
        settings.public_urls = vec!["https://calls.example.com/graph".parse().unwrap()];
        settings.extra_audiences = vec!["api://calls".into()];
        scope_named(scope, Some("10.0.0.7"), &settings)
    }

    #[test]
    fn every_name_of_this_server_is_a_resource_and_no_other_is() {
        for scope in [
            "https://graph.microsoft.com/.default",
            "https://graph.microsoft.com//.default",
            "HTTPS://Graph.Microsoft.Com/.default",
            "https://graph.microsoft.com:443/.default",
            "00000003-0000-0000-c000-000000000000/.default",
            "https://127.0.0.1/.default",
            "https://[::1]/.default",
            "http://localhost:8080/.default",
            "https://10.0.0.7/.default",
            "https://10.0.0.7:8443/.default",
            "https://calls.example.com/.default",
            "https://calls.example.com/graph/.default",
            "openid profile https://graph.microsoft.com/.default offline_access",
        ] {
            assert_eq!(read_scope(scope), Ok(Resource::Graph), "{scope}");
        }
        let bot = "https://api.botframework.com/.default";
        assert_eq!(read_scope(bot), Ok(Resource::BotFramework));
        assert_eq!(read_scope("api://calls/.default"), Ok(Resource::Extra("api://calls".into())));
        for scope in [
            "https://vault.azure.net/.default",
            "https://graph.microsoft.com.example.org/.default",
            "https://graph.microsoft.com@example.org/.default",
            "https://example.org@graph.microsoft.com/.default",
            "https://graph.microsoft.com/v1.0/.default",
            "https://graph.microsoft.com/?x=/.default",
            "https://10.0.0.8/.default",
            "ftp://graph.microsoft.com/.default",
            "/.default",
        ] {
            assert_eq!(
                read_scope(scope),
                Err(TokenError::BotScopeUnknown(scope.into())),
                "{scope}"
            );
        }
        for scope in [
            "https://graph.microsoft.com/User.Read",
            ".default",
            "openid",
            "https://graph.microsoft.com/.default https://api.botframework.com/.default",
        ] {
            assert_eq!(
                read_scope(scope),
                Err(TokenError::BotScopeNotDefault(scope.into())),
                "{scope}"
            );
        }
    }

    #[test]
    fn basic_credentials_are_form_decoded_and_may_repeat_the_form() {
        let encoded: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        let basic = format!("Basic {}", STANDARD.encode(format!("{APP}:{encoded}")));
        let scope = ("scope", "https://graph.microsoft.com/.default");
        let grant = ("grant_type", "client_credentials");
        let ask = |fields: &[(&str, &str)], authorization: Option<&str>| {
            read(Version::V2, &form(fields), authorization, None, &settings())
        };
        let request = ask(&[grant, scope], Some(&basic)).unwrap();
        assert_eq!(request.app, APP);
        assert_eq!(request.secret.expose(), SECRET);
        let same = [grant, scope, ("client_id", &APP.to_string())];
        assert!(ask(&same, Some(&basic)).is_ok());
        let other = [grant, scope, ("client_secret", "another")];
        assert_eq!(
            ask(&other, Some(&basic)).unwrap_err(),
            TokenError::BotParameterTwice("client_secret")
        );
        for header in ["Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Bearer abc", ""] {
            assert_eq!(
                ask(&[grant, scope], Some(header)).unwrap_err(),
                TokenError::BotParameterMissing("client_id"),
                "{header:?}"
            );
        }
    }

    #[test]
    fn a_known_field_may_occur_once_and_an_unknown_one_as_often_as_it_likes() {
        let id = APP.to_string();
        let good = [
            ("x-client-sku", "msal"),
            ("scope", "https://graph.microsoft.com/.default"),
            ("client_secret", SECRET),
            ("x-client-sku", "again"),
            ("client_id", &id),
            ("grant_type", "client_credentials"),
            ("claims", r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#),
        ];
        let ask =
            |fields: &[(&str, &str)]| read(Version::V2, &form(fields), None, None, &settings());
        assert_eq!(ask(&good).unwrap().resource, Resource::Graph);
        for twice in Form::KNOWN {
            let mut fields = good.to_vec();
            fields.push((twice, "second"));
            let outcome = ask(&fields).map(|_| ());
            let expected = if twice == "resource" {
                Ok(())
            } else {
                Err(TokenError::BotParameterTwice(twice))
            };
            assert_eq!(outcome, expected, "{twice}");
        }
    }
}
