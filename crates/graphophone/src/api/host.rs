//! The names that a server of the dev profile answers to. Its secrets are in every copy of this
//! program, so a web page whose own name leads here (DNS rebinding) could use them from the browser
//! of whoever develops: a browser says in `Host` which name it used.

use axum::{
    extract::{Request, State},
    http::{StatusCode, header, uri::Authority},
    middleware::Next,
    response::Response,
};
use url::{Host, Url};

use super::{AppState, admin::refusal};
use crate::auth::tls::IMPERSONATED_HOSTS;

/// Names besides those of this machine.
#[derive(Clone, Debug)]
pub(super) struct OwnNames {
    public: Option<String>,
}

impl OwnNames {
    pub(super) fn new(public_url: Option<&Url>) -> Self {
        Self { public: public_url.and_then(Url::host_str).map(str::to_owned) }
    }

    /// Whether a `Host` header, with or without a port, means this server.
    fn covers(&self, host: &str) -> bool {
        let Ok(host) = host.parse::<Authority>() else { return false };
        let host = host.host().trim_end_matches('.').to_ascii_lowercase();
        let is_here = match Host::parse(&host) {
            Ok(Host::Ipv4(v4)) => v4.is_loopback(),
            Ok(Host::Ipv6(v6)) => v6.is_loopback(),
            // RFC 6761 §6.3: no name server may say where these lead.
            Ok(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Err(_) => false,
        };
        is_here || IMPERSONATED_HOSTS.contains(&host.as_str()) || self.public == Some(host)
    }
}

/// Lets requests pass that name this server; all of them in production, which has no known secrets.
pub(super) async fn check(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let Some(names) = state.own_names() else { return next.run(request).await };
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let named = request.uri().authority().map(Authority::as_str);
    // A client without Host is no browser.
    let is_ours = hosts.all(|host| host.to_str().is_ok_and(|host| names.covers(host)))
        && named.is_none_or(|host| names.covers(host));
    if is_ours {
        return next.run(request).await;
    }
    // RFC 9110 §15.5.20.
    let text = "this is a server of the dev profile: reach it as localhost, by a loopback address, \
        or by the name in server.public_url";
    refusal(StatusCode::MISDIRECTED_REQUEST, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_else_can_point_here_are_ours() {
        let url = "https://calls.example.com:8443/x".parse().unwrap();
        let names = OwnNames::new(Some(&url));
        for host in [
            "localhost",
            "localhost:8080",
            "LOCALHOST.:1",
            "bot.localhost",
            "127.0.0.1:8080",
            "127.1.2.3",
            "[::1]:8080",
            "graph.microsoft.com",
            "login.microsoftonline.com:443",
            "calls.example.com",
            "calls.example.com:8443",
        ] {
            assert!(names.covers(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evil.example:8080",
            "127.0.0.1.nip.io",
            "127.0.0.1.evil.example:8080",
            "rebind.example.",
            "192.168.1.5",
            "0.0.0.0:8080",
            "[::ffff:127.0.0.1]",
            "[::]",
            "user@localhost@evil.example",
            "a b",
            "evil.example/localhost",
            "notlocalhost",
            "calls.example.com.evil.example",
        ] {
            assert!(!names.covers(host), "{host}");
        }
    }
}
