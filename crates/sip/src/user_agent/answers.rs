//! What one request of ours answers to challenges (RFC 3261 §22, RFC 7616), client side.

use sipx_sip::{
    HeaderName, Response,
    auth::{self, Challenge, Credentials},
};

/// Most times one request is sent again with credentials (AST-2020-002: a server may challenge for
/// ever): for a proxy and for whoever is behind it, or once more with a fresh nonce.
const MOST_TRIES: u8 = 2;
/// Most protection spaces answered at a time.
const MOST_SPACES: usize = 4;

/// Who we are at a trunk.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) credentials: Credentials,
    /// The only protection space that is answered; `None` answers every one the trunk passes on.
    pub(crate) realm: Option<String>,
}

/// The credentials a request carries: one for each protection space that asked.
#[derive(Debug, Default)]
pub(super) struct Answers {
    given: Vec<Given>,
    tries: u8,
}

#[derive(Debug)]
struct Given {
    /// `Authorization` or `Proxy-Authorization`.
    header: HeaderName,
    realm: String,
    value: String,
}

impl Answers {
    /// Answers the challenges of a 401 or 407 to a request with this method and Request-URI.
    /// `false` when there is nothing new to say: credentials that were refused, and not for the
    /// age of their nonce, are not sent again.
    pub(super) fn take(
        &mut self,
        response: &Response,
        account: &Account,
        method: &str,
        uri: &str,
        cnonce: &str,
    ) -> bool {
        if self.tries >= MOST_TRIES || !matches!(response.status.code(), 401 | 407) {
            return false;
        }
        let mut is_new = false;
        let is_known = |challenge: &Challenge| {
            // Somebody behind the trunk who asks for it could guess the password from the answer
            // (CVE-2021-41158).
            account.realm.as_ref().is_none_or(|realm| *realm == challenge.realm)
        };
        for challenge in strongest(response).into_iter().filter(is_known) {
            let header = challenge.response_header();
            let is_same =
                |given: &&mut Given| given.header == header && given.realm == challenge.realm;
            let known = self.given.iter_mut().find(is_same);
            if known.is_some() && !challenge.stale {
                continue;
            }
            let value = auth::respond(&challenge, &account.credentials, method, uri, 1, cnonce);
            match known {
                Some(given) => given.value = value,
                None => {
                    let realm = challenge.realm.clone();
                    self.given.push(Given { header, realm, value });
                }
            }
            is_new = true;
        }
        self.tries += u8::from(is_new);
        is_new
    }

    /// The headers that carry them.
    pub(super) fn headers(&self) -> Vec<(HeaderName, String)> {
        self.given.iter().map(|given| (given.header.clone(), given.value.clone())).collect()
    }
}

/// The strongest challenge of each protection space; forks bring several (RFC 3261 §22.3).
fn strongest(response: &Response) -> Vec<Challenge> {
    let mut best: Vec<Challenge> = Vec::new();
    for (name, proxy) in
        [(HeaderName::WwwAuthenticate, false), (HeaderName::ProxyAuthenticate, true)]
    {
        let values = response.headers.get_all(&name);
        for next in values.filter_map(|header| Challenge::parse(&header.value(), proxy)) {
            let is_same =
                |known: &&mut Challenge| known.from_proxy == proxy && known.realm == next.realm;
            match best.iter_mut().find(is_same) {
                Some(known) if next.algorithm.strength() > known.algorithm.strength() => {
                    *known = next;
                }
                Some(_) => {}
                None => best.push(next),
            }
        }
    }
    best.truncate(MOST_SPACES);
    best
}
