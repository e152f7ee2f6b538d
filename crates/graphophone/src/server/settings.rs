//! The configuration in the words of each part: one function per part, nothing else.

use std::{net::IpAddr, num::NonZeroUsize};

use graphophone_call::{AppId, TenantId};
use graphophone_media::{
    engine::{DatagramIo, EngineConfig},
    prompt::Accept,
};
use graphophone_sip::{EndpointConfig, IncomingRefer, PhoneAccount, Trunk};

use crate::{
    api::own_listeners,
    auth::{AppSettings, AuthSettings, IssuerSettings, Secret},
    config::{self, CompatMode, Config, MediaIo, Profile, SipListen},
    engine::{AdmissionLimits, ConferenceRules, DialLimits, MeetingKey, NamedConference},
    prompts::{FetchLimits, Settings as PromptsSettings, UploadLimits},
    recordings::Settings as RecordingsSettings,
};

pub(super) fn auth_settings(config: &Config) -> AuthSettings {
    AuthSettings {
        tenants: config.tenants.iter().map(|tenant| TenantId::new(tenant.id)).collect(),
        apps: config
            .apps
            .iter()
            .map(|app| AppSettings {
                id: AppId::new(app.id),
                tenant: TenantId::new(app.tenant),
                secret: app.secret.clone().unwrap_or_else(|| Secret::new("")),
                roles: app.roles.clone(),
            })
            .collect(),
        auto_provision: config.profile == Profile::Dev,
        issuers: config.issuers.iter().map(issuer).collect(),
        public_urls: config.server.public_url.iter().cloned().collect(),
        ..AuthSettings::default()
    }
}

fn issuer(section: &config::IssuerSection) -> IssuerSettings {
    IssuerSettings {
        issuer: section.issuer.clone(),
        jwks_uri: section.jwks_uri.clone(),
        audiences: section.audiences.iter().cloned().collect(),
        tenant: section.tenant.map(TenantId::new),
        roles_claim: section.roles_claim.clone(),
        refresh: section.refresh.0,
        allow: section.allow.clone(),
    }
}

pub(super) fn engine_config(config: &Config) -> EngineConfig {
    let threads = match config.media.threads {
        0 => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        threads => NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN),
    };
    let io = match config.media.io {
        MediaIo::Auto => DatagramIo::Measured,
        MediaIo::Raw => DatagramIo::Raw,
        MediaIo::IoUring => DatagramIo::IoUring,
        MediaIo::SendTo => DatagramIo::Single,
    };
    EngineConfig { threads, io }
}

pub(super) fn prompts_settings(config: &Config) -> PromptsSettings {
    PromptsSettings {
        fetch: FetchLimits {
            max_bytes: config.prompts.max_bytes.0,
            total: config.prompts.timeout.0,
            ..FetchLimits::default()
        },
        disk_budget: config.prompts.disk_budget.0,
        memory_budget: config.prompts.memory_budget.0,
        max_duration: config.prompts.max_duration.0,
        accept: match config.compat.mode {
            CompatMode::Open => Accept::Any,
            CompatMode::StrictBeta | CompatMode::StrictV1 => Accept::GraphOnly,
        },
        uploads: UploadLimits {
            directory: config.store.path.join("uploads"),
            budget: config.prompts.uploads_budget.0,
        },
        speech: config.tts.settings(own_listeners(config)),
        ..PromptsSettings::in_directory(config.store.path.join("prompts"))
    }
}

pub(super) fn recordings_settings(config: &Config) -> RecordingsSettings {
    RecordingsSettings {
        directory: config.store.path.join("recordings"),
        keep: config.recordings.keep.0,
        token_valid: config.recordings.token_valid.0,
        disk_budget: config.recordings.disk_budget.0,
    }
}

pub(super) fn call_settings(config: &Config) -> graphophone_call::Settings {
    graphophone_call::Settings {
        answer_within: config.calls.answer_within.0,
        ring_for: config.calls.ring_for.0,
        keep_alive: config.calls.keep_alive.0,
        start_grace: config.prompts.start_grace.0,
        queue_limit: config.limits.queued_operations,
        longest_outgoing: Some(config.dial.max_call.0),
        notify_cut_operations: config.operations.notify_on_hang_up,
        ..graphophone_call::Settings::default()
    }
}

pub(super) fn conference_rules(config: &Config) -> ConferenceRules {
    let first = config.tenants.first().map(|tenant| tenant.id);
    let named = |section: &config::ConferenceSection| {
        let tenant = TenantId::new(section.tenant.or(first)?);
        Some(NamedConference {
            key: MeetingKey { tenant, name: section.name.clone() },
            to: section.to.clone(),
            passcode: section.passcode.clone(),
            without_bot: section.without_bot,
        })
    };
    ConferenceRules {
        named: config.conferences.iter().filter_map(named).collect(),
        most_participants: config.limits.participants,
        without_bot: config.calls.without_bot.0,
    }
}

pub(super) fn dial_limits(config: &Config) -> DialLimits {
    DialLimits {
        concurrent: config.dial.per_app_concurrent,
        per_minute: config.dial.per_app_per_minute,
    }
}

pub(super) fn admission_limits(config: &Config) -> AdmissionLimits {
    let limits = &config.admission;
    AdmissionLimits {
        enabled: limits.enabled,
        free_calls: limits.free_calls,
        engine_thread: f64::from(limits.engine_thread_percent) / 100.0,
        process: f64::from(limits.process_percent) / 100.0,
        lateness: limits.lateness.0,
        queue_age: limits.queue_age.0,
        fetch_wait: limits.fetch_wait.0,
        store_age: limits.store_age.0,
    }
}

pub(super) fn endpoint_config(config: &Config) -> EndpointConfig {
    let mut udp = Vec::new();
    let mut tcp = Vec::new();
    for listen in &config.sip.listen {
        match listen {
            SipListen::Udp(at) => udp.push(*at),
            SipListen::Tcp(at) => tcp.push(*at),
        }
    }
    EndpointConfig {
        udp,
        tcp,
        external_address: config.sip.external_address,
        rtp_bind: config.rtp.bind,
        rtp_ports: config.rtp.ports.0.clone(),
        media_timeout: Some(config.rtp.media_timeout.0).filter(|limit| !limit.is_zero()),
        phones: config
            .phones
            .iter()
            .map(|phone| PhoneAccount {
                user: phone.user.clone(),
                password: phone.password.expose().to_owned(),
                user_id: phone.user_id.clone(),
            })
            .collect(),
        digest: config.sip.digest.iter().map(|digest| digest.0).collect(),
        trunks: config
            .trunks
            .iter()
            .map(|trunk| Trunk {
                name: trunk.name.clone(),
                uri: trunk.uri.clone(),
                username: trunk.username.clone(),
                from: trunk.from.clone(),
                password: trunk.password.as_ref().map(|secret| secret.expose().to_owned()),
                realm: trunk.realm.clone(),
                register: trunk.register,
                peers: trunk.peers.iter().map(peer).collect(),
            })
            .collect(),
        max_calls: config.limits.calls,
        incoming_refer: match config.sip.incoming_refer {
            config::IncomingRefer::Decline => IncomingRefer::Decline,
            config::IncomingRefer::Follow => IncomingRefer::Follow,
        },
        agent: format!("Graphophone/{}", env!("CARGO_PKG_VERSION")),
    }
}

fn peer(network: &config::Network) -> (IpAddr, u8) {
    (network.0.addr(), network.0.prefix_len())
}
