//! `[[issuer]]`: whose tokens are taken besides our own.

use std::{collections::BTreeSet, time::Duration};

use serde::Deserialize;
use url::{Host, Url};
use uuid::Uuid;

use super::{Config, check::Faults, values, values::Interval};
use crate::{auth::issuer::TENANT_TEMPLATE, prompts::AllowRule};

/// One `[[issuer]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct IssuerSection {
    pub issuer: String,
    #[serde(default, deserialize_with = "values::url")]
    pub jwks_uri: Option<Url>,
    pub audiences: Vec<String>,
    pub tenant: Option<Uuid>,
    #[serde(default = "roles")]
    pub roles_claim: String,
    #[serde(default = "quarter_of_an_hour")]
    pub refresh: Interval,
    #[serde(default, deserialize_with = "values::list")]
    pub allow: Vec<AllowRule>,
}

fn roles() -> String {
    "roles".to_owned()
}

fn quarter_of_an_hour() -> Interval {
    Interval(Duration::from_secs(15 * 60))
}

impl Config {
    pub(super) fn check_issuers(&self, faults: &mut Faults) {
        let tenants: BTreeSet<_> = self.tenants.iter().map(|tenant| tenant.id).collect();
        let mut names = BTreeSet::new();
        for IssuerSection { issuer, jwks_uri, audiences, tenant, roles_claim, refresh, .. } in
            &self.issuers
        {
            if !names.insert(issuer) {
                faults.add("issuer.issuer", "the same issuer stands twice");
            }
            let location = issuer.replace(TENANT_TEMPLATE, "common").parse::<Url>();
            let where_from = "keys decide who is let in: write an https URL without credentials and query (plain http for a loopback address only)";
            if !location.is_ok_and(|url| is_safe(&url) && url.query().is_none()) {
                faults.add("issuer.issuer", where_from);
            }
            if jwks_uri.as_ref().is_some_and(|url| !is_safe(url)) {
                faults.add("issuer.jwks_uri", where_from);
            }
            if audiences.is_empty() || audiences.iter().any(String::is_empty) {
                faults.add("issuer.audiences", "name what its tokens for this server have as aud");
            }
            if let Some(tenant) = tenant
                && !tenants.contains(tenant)
            {
                faults.add("issuer.tenant", format!("there is no [[tenant]] with id {tenant}"));
            }
            if tenant.is_some() && issuer.contains(TENANT_TEMPLATE) {
                faults.add("issuer.tenant", "an issuer for any tenant takes it from the token");
            }
            if roles_claim.split('.').any(str::is_empty) || roles_claim.contains(['/', '~']) {
                faults.add("issuer.roles_claim", "write a claim, like \"realm_access.roles\"");
            }
            let range = Duration::from_secs(60)..=Duration::from_secs(24 * 60 * 60);
            if !range.contains(&refresh.0) {
                faults.add("issuer.refresh", "must be between 1min and 1day");
            }
        }
    }
}

/// Whoever can change a key set on its way here can let anybody in.
fn is_safe(url: &Url) -> bool {
    let on_this_machine = match url.host() {
        Some(Host::Ipv4(v4)) => v4.is_loopback(),
        Some(Host::Ipv6(v6)) => v6.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    };
    let encrypted = url.scheme() == "https" || (url.scheme() == "http" && on_this_machine);
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    encrypted && plain && url.has_host()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::config::{Overrides, Profile};

    const TENANT: &str = "b7e2c1d0-0000-0000-0000-000000000001";

    fn faults(issuers: &str) -> Vec<String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "[[tenant]]\nid = \"{TENANT}\"\n{issuers}").unwrap();
        match Config::load(Profile::Production, Some(file.path()), Overrides::new()) {
            Ok(_) => Vec::new(),
            Err(error) => error.faults.into_iter().map(|fault| fault.setting).collect(),
        }
    }

    #[test]
    fn an_issuer_is_trusted_over_https_only_and_for_named_audiences() {
        let issuer = |rest: &str| format!("[[issuer]]\nissuer = \"https://id.example\"\n{rest}\n");
        let good = issuer("audiences = [\"api://calls\"]");
        assert_eq!(faults(&good), [""; 0]);
        let template = "https://login.microsoftonline.com/{tenantid}/v2.0";
        let cases: [(String, &[&str]); 16] = [
            (good.replace("id.example", "id.example/realms/x"), &[]),
            (good.replace("https://id.example", template), &[]),
            (good.replace("https://id.example", "http://127.0.0.1:8081/realms/x"), &[]),
            (good.replace("https://id.example", "http://[::1]:8081"), &[]),
            (good.replace("https://id.example", "http://id.example"), &["issuer.issuer"]),
            (good.replace("https://id.example", "http://localhost"), &["issuer.issuer"]),
            (good.replace("id.example", "u:p@id.example"), &["issuer.issuer"]),
            (good.replace("id.example", "id.example/?a=b"), &["issuer.issuer"]),
            (good.replace("https://id.example", "id.example"), &["issuer.issuer"]),
            (format!("{good}{good}"), &["issuer.issuer"]),
            (format!("{good}jwks_uri = \"http://id.example/keys\""), &["issuer.jwks_uri"]),
            (issuer("audiences = []"), &["issuer.audiences"]),
            (issuer(""), &["issuer.audiences"]),
            (format!("{good}roles_claim = \"a..b\""), &["issuer.roles_claim"]),
            (format!("{good}refresh = \"59s\""), &["issuer.refresh"]),
            (format!("{good}tenant = \"{}\"", TENANT.replace("0001", "0002")), &["issuer.tenant"]),
        ];
        for (text, wanted) in cases {
            assert_eq!(faults(&text), wanted, "{text}");
        }
        let both = good.replace("https://id.example", template) + &format!("tenant = \"{TENANT}\"");
        assert_eq!(faults(&both), ["issuer.tenant"]);
    }
}
