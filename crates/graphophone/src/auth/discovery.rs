//! The documents that tell clients where the endpoints are and which keys count, and the base URL
//! they are made from.

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts, uri::Authority as HostAndPort},
};
use serde_json::{Value, json};
use url::Url;

use super::{Authority, directory::Segment, tls::IMPERSONATED_HOSTS, token_error::TokenError};

/// How a request reached us. The HTTPS listener adds [`Scheme::Https`] to its requests as an
/// `axum::Extension`; without one the request counts as plain HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Where this request came in: the beginning of every URL of a discovery document.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// Scheme, host, port and perhaps a path; no slash at the end.
    pub(super) url: String,
    /// Host name alone, lower case.
    pub(super) host: String,
}

impl FromRequestParts<Authority> for Base {
    type Rejection = TokenErrorNow;

    async fn from_request_parts(
        parts: &mut Parts,
        authority: &Authority,
    ) -> Result<Self, Self::Rejection> {
        Self::of(parts, &authority.inner.settings.public_urls).ok_or(TokenErrorNow)
    }
}

/// [`TokenError::BotHost`] as the answer to a request that got no further.
pub(super) struct TokenErrorNow;

impl axum::response::IntoResponse for TokenErrorNow {
    fn into_response(self) -> axum::response::Response {
        TokenError::BotHost.answer(super::unix_now(), None)
    }
}

impl Base {
    fn of(parts: &Parts, public_urls: &[Url]) -> Option<Self> {
        let authority = host_and_port(parts)?;
        let host = authority.host().to_ascii_lowercase();
        let scheme = parts.extensions.get::<Scheme>().copied().unwrap_or(Scheme::Http);
        let here = format!("{}://{}", scheme.name(), authority.as_str().to_ascii_lowercase());
        let base = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
        // Behind a proxy only host and port are still the client's, not the scheme.
        let asked = |url: &&Url| {
            let port = authority.port_u16().or_else(|| match url.scheme() {
                "https" => Some(443),
                _ => Some(80),
            });
            url.host_str() == Some(host.as_str()) && url.port_or_known_default() == port
        };
        if let Some(public) = public_urls.iter().find(asked) {
            return Some(Self { url: base(public), host });
        }
        // Under a borrowed name, and on the machine itself, clients must get back what they asked.
        let local = is_local(&host) || IMPERSONATED_HOSTS.contains(&host.as_str());
        let url = match public_urls.first() {
            Some(public) if !local => base(public),
            _ => here,
        };
        Some(Self { url, host })
    }
}

/// `{tenant}/v2.0/.well-known/openid-configuration`. `tenant` is the segment as it was asked for.
pub(super) fn openid_configuration(base: &Base, segment: Segment, tenant: &str) -> Value {
    let root = format!("{}/{tenant}", base.url);
    // Entra answers for `common` with a template that libraries fill in.
    let issued_by = if segment == Segment::Shared { "{tenantid}" } else { tenant };
    json!({
        // On our own host: libraries compare it with the authority they were given. The `iss` of
        // access tokens is another one (v1 format), as in Entra.
        "issuer": format!("{}/{issued_by}/v2.0", base.url),
        "token_endpoint": format!("{root}/oauth2/v2.0/token"),
        "jwks_uri": format!("{root}/discovery/v2.0/keys"),
        // Not served, but libraries refuse a document without them.
        "authorization_endpoint": format!("{root}/oauth2/v2.0/authorize"),
        "device_authorization_endpoint": format!("{root}/oauth2/v2.0/devicecode"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "subject_types_supported": ["pairwise"],
        "scopes_supported": ["https://graph.microsoft.com/.default"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "request_uri_parameter_supported": false,
        "tenant_region_scope": null,
        "msgraph_host": "graph.microsoft.com",
    })
}

/// `/common/discovery/instance`: whether `authorization_endpoint` is an authority to be trusted.
/// Asked of login.microsoftonline.com only, so it matters when we go by that name.
pub(super) fn instance(
    base: &Base,
    authorization_endpoint: &str,
    public_urls: &[Url],
) -> Result<Value, TokenError> {
    let unknown =
        || TokenError::BotAuthorityUnknown(super::token_error::quoted(authorization_endpoint));
    let url = Url::parse(authorization_endpoint).map_err(|_| unknown())?;
    let host = url.host_str().ok_or_else(unknown)?;
    let ours = host == base.host
        || is_local(host)
        || IMPERSONATED_HOSTS.contains(&host)
        || public_urls.iter().any(|public| public.host_str() == Some(host));
    if !ours || url.scheme() != "https" {
        return Err(unknown());
    }
    let tenant = url.path_segments().and_then(|mut segments| segments.next()).unwrap_or_default();
    if Segment::parse(tenant).is_none() {
        return Err(unknown());
    }
    let origin = url.origin().ascii_serialization();
    let authority = origin.trim_start_matches("https://");
    Ok(json!({
        "tenant_discovery_endpoint":
            format!("{origin}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{
            "preferred_network": authority,
            "preferred_cache": authority,
            "aliases": [authority],
        }],
    }))
}

/// `/v1/.well-known/OpenIdConfiguration`: where a bot finds the keys of our notifications.
pub(super) fn notification_configuration(base: &Base, issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": "https://invalid.botframework.com",
        "jwks_uri": format!("{}/v1/.well-known/keys", base.url),
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
    })
}

/// `:authority` of HTTP/2 or the one `Host` header of HTTP/1.1.
fn host_and_port(parts: &Parts) -> Option<HostAndPort> {
    if let Some(authority) = parts.uri.authority() {
        return checked(authority.clone());
    }
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
    checked(host.to_str().ok()?.parse().ok()?)
}

fn checked(authority: HostAndPort) -> Option<HostAndPort> {
    let plain = !authority.as_str().contains('@') && !authority.host().is_empty();
    // A port that is no number would be copied into the documents.
    let rest = authority.as_str().strip_prefix(authority.host())?;
    (plain && (rest.is_empty() || authority.port_u16().is_some())).then_some(authority)
}

fn is_local(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The first value of that name in a query string.
pub(super) fn query_value(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query?.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn base(host: &str, scheme: Option<Scheme>, public: &[&str]) -> Option<String> {
        let mut request = Request::get("/x").header(header::HOST, host).body(()).unwrap();
        if let Some(scheme) = scheme {
            request.extensions_mut().insert(scheme);
        }
        let public: Vec<Url> = public.iter().map(|url| url.parse().unwrap()).collect();
        Base::of(&request.into_parts().0, &public).map(|base| base.url)
    }

    #[test]
    fn the_base_url_is_the_clients_own_view_of_us() {
        let https = Some(Scheme::Https);
        let public = ["https://calls.example.com", "https://other.example.com:8443/graph/"];
        for (host, scheme, public, expected) in [
            ("localhost:8443", https, &[][..], "https://localhost:8443"),
            ("127.0.0.1:8080", None, &[], "http://127.0.0.1:8080"),
            ("[::1]:8443", https, &[], "https://[::1]:8443"),
            ("LocalHost:8443", https, &[], "https://localhost:8443"),
            ("login.microsoftonline.com", https, &[], "https://login.microsoftonline.com"),
            ("calls.example.com", None, &public, "https://calls.example.com"),
            ("other.example.com:8443", None, &public, "https://other.example.com:8443/graph"),
            ("other.example.com", https, &public, "https://calls.example.com"),
            ("evil.example.org", https, &public, "https://calls.example.com"),
            ("localhost:8443", https, &public, "https://localhost:8443"),
            ("api.aps.skype.com", https, &public, "https://api.aps.skype.com"),
        ] {
            assert_eq!(base(host, scheme, public).as_deref(), Some(expected), "{host}");
        }
    }

    #[test]
    fn a_host_that_is_none_gets_no_document() {
        for host in ["", "a b", "user@localhost", "localhost:port", "localhost:99999", "a/b", "ü"]
        {
            assert_eq!(base(host, None, &[]), None, "{host}");
        }
        let two = Request::get("/").header("host", "a").header("host", "b").body(()).unwrap();
        assert!(Base::of(&two.into_parts().0, &[]).is_none());
    }

    #[test]
    fn instance_discovery_vouches_for_ourselves_only() {
        let here = Base { url: "https://x".into(), host: "login.microsoftonline.com".into() };
        let ask = |url: &str| instance(&here, url, &["https://calls.example.com".parse().unwrap()]);
        let good = ask("https://localhost:8443/common/oauth2/v2.0/authorize").unwrap();
        assert_eq!(
            good["tenant_discovery_endpoint"],
            "https://localhost:8443/common/v2.0/.well-known/openid-configuration"
        );
        assert_eq!(good["metadata"][0]["aliases"][0], "localhost:8443");
        assert!(ask("https://login.microsoftonline.com/common/oauth2/v2.0/authorize").is_ok());
        assert!(ask("https://calls.example.com/common/").is_ok());
        for url in [
            "https://evil.example.org/common/oauth2/v2.0/authorize",
            "http://localhost/common/oauth2/v2.0/authorize",
            "https://localhost/",
            "https://localhost/nonsense/x",
            "localhost",
            "",
        ] {
            assert!(matches!(ask(url), Err(TokenError::BotAuthorityUnknown(_))), "{url}");
        }
    }
}
