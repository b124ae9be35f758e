//! Who may call: the host name, the page it comes from, the token.
//!
//! Each check alone can be got round by a web page (DNS rebinding, cross-site requests); together they cannot.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::SharedApp;
use super::problem::{Kind, Problem};
use super::serve::Caller;

/// Paths that say nothing worth protecting and are asked for by programs that have no token.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];
/// Paths that need no token.
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/openapi.json"];

/// The checks of one node.
#[derive(Debug)]
pub(super) struct Guard {
    hosts: BTreeSet<String>,
    token: blake3::Hash,
}

impl Guard {
    pub(super) fn new(http: SocketAddr, allowed: &[String], token: &str) -> Self {
        let port = http.port();
        let mut hosts = BTreeSet::new();
        let mut allow = |name: &str| {
            hosts.insert(format!("{name}:{port}"));
            // Without a port in `Host` the scheme's own is meant.
            if port == 80 {
                hosts.insert(name.to_owned());
            }
        };
        for name in ["127.0.0.1", "localhost", "[::1]"] {
            allow(name);
        }
        if !http.ip().is_unspecified() {
            let numeric = SocketAddr::new(http.ip(), 0).to_string();
            allow(numeric.trim_end_matches(":0"));
        }
        for host in allowed.iter().map(|host| host.to_ascii_lowercase()) {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            if !has_port {
                hosts.insert(format!("{host}:{port}"));
            }
            hosts.insert(host);
        }
        Self { hosts, token: blake3::hash(token.as_bytes()) }
    }

    fn knows(&self, host: &str) -> bool {
        self.hosts.contains(&host.to_ascii_lowercase())
    }

    /// Refuses host names that are not this node's: a page whose name was bent to 127.0.0.1 still says its own.
    ///
    /// Names that contradict each other are no request at all (RFC 9112, 3.2): two `Host` headers, or one that is not
    /// the host of the address in the request line.
    pub(super) fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let given = headers.get_all(header::HOST).iter().count();
        if given > 1 {
            return Err(Problem::argument(format!("the request has {given} `Host` headers")));
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if uri.authority().is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(host)) {
            return Err(Problem::argument("the address in the request line has another host than the header `Host`"));
        }
        if self.knows(host) {
            return Ok(());
        }
        Err(Problem::new(Kind::ForbiddenHost, format!("the host `{}` is not allowed", short(host))))
    }

    /// Refuses requests that a page from elsewhere makes.
    pub(super) fn check_origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        if let Some(origin) = text("origin") {
            let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            if !host.is_some_and(|host| self.knows(host)) {
                let detail = format!("a page of `{}` made this request", short(origin));
                return Err(Problem::new(Kind::ForbiddenOrigin, detail));
            }
        }
        match text("sec-fetch-site") {
            None | Some("same-origin" | "none") => Ok(()),
            Some(site) => {
                let detail = format!("the browser says that this request comes from a page that is {}", short(site));
                Err(Problem::new(Kind::ForbiddenOrigin, detail))
            }
        }
    }

    /// Refuses requests without the token. Hashes compare in constant time.
    pub(super) fn check_token(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, given)) = value.and_then(|value| value.split_once(' ')) else {
            return Err(Problem::new(Kind::Unauthorized, "the request carries no bearer token"));
        };
        if scheme.eq_ignore_ascii_case("bearer") && blake3::hash(given.trim().as_bytes()) == self.token {
            return Ok(());
        }
        Err(Problem::new(Kind::Unauthorized, "the token is not this node's"))
    }
}

/// Text from a request, fit for an answer.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// Checks every request.
pub(super) async fn check(State(app): State<SharedApp>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let headers = request.headers();
    let guard = &app.guard;
    let allowed = if PROBES.contains(&path) { Ok(()) } else { guard.check_host(request.uri(), headers) };
    let allowed = allowed.and_then(|()| guard.check_origin(headers));
    let allowed = allowed.and_then(|()| if OPEN.contains(&path) { Ok(()) } else { guard.check_token(headers) });
    if let Some(caller) = request.extensions().get::<Caller>().filter(|_| allowed.is_ok() && !OPEN.contains(&path)) {
        caller.shows_token();
    }
    match allowed {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn guard() -> Guard {
        let address = "127.0.0.1:7701".parse().expect("an address");
        Guard::new(address, &["site.example".to_owned(), "proxy.example:8443".to_owned()], "secret")
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (name.parse().expect("a header name"), HeaderValue::from_str(value).expect("a header value"))
        });
        pairs.collect()
    }

    #[test]
    fn hosts_are_matched_with_their_port() {
        let allowed = [
            "127.0.0.1:7701",
            "LOCALHOST:7701",
            "[::1]:7701",
            "site.example:7701",
            "site.example",
            "proxy.example:8443",
        ];
        for host in allowed {
            assert_eq!(guard().check_host(&Uri::default(), &headers(&[("host", host)])), Ok(()), "{host}");
        }
        let refused =
            ["", "localhost", "127.0.0.1", "127.0.0.1:80", "evil.example:7701", "proxy.example", "localhost:7701.evil"];
        for host in refused {
            let problem = guard().check_host(&Uri::default(), &headers(&[("host", host)])).expect_err(host);
            assert_eq!(problem.kind, Kind::ForbiddenHost, "{host}");
        }
        assert!(guard().check_host(&Uri::default(), &HeaderMap::new()).is_err());
    }

    #[test]
    fn names_that_contradict_each_other_are_no_request() {
        let good = ("host", "127.0.0.1:7701");
        let same: Uri = "http://127.0.0.1:7701/v1/status".parse().expect("an address");
        assert_eq!(guard().check_host(&same, &headers(&[good])), Ok(()));
        let other: Uri = "http://evil.example:7701/v1/status".parse().expect("an address");
        let mut two = headers(&[good]);
        two.append(header::HOST, HeaderValue::from_static("evil.example"));
        for (uri, headers) in [(&other, headers(&[good])), (&same, two.clone()), (&Uri::default(), two)] {
            let problem = guard().check_host(uri, &headers).expect_err("two names");
            assert_eq!(problem.kind, Kind::InvalidArgument);
        }
    }

    #[test]
    fn foreign_pages_are_refused() {
        for pairs in [
            &[][..],
            &[("origin", "http://localhost:7701")],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
        ] {
            assert_eq!(guard().check_origin(&headers(pairs)), Ok(()), "{pairs:?}");
        }
        for pairs in [
            &[("origin", "http://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "http://localhost:9999")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
        ] {
            let problem = guard().check_origin(&headers(pairs)).expect_err("foreign");
            assert_eq!(problem.kind, Kind::ForbiddenOrigin, "{pairs:?}");
        }
    }

    #[test]
    fn only_the_token_opens() {
        assert_eq!(guard().check_token(&headers(&[("authorization", "Bearer secret")])), Ok(()));
        assert_eq!(guard().check_token(&headers(&[("authorization", "bearer secret")])), Ok(()));
        for value in ["Bearer secre", "Bearer", "Basic secret", "secret", "Bearer secretx"] {
            let problem = guard().check_token(&headers(&[("authorization", value)])).expect_err(value);
            assert_eq!(problem.kind, Kind::Unauthorized);
        }
        assert!(guard().check_token(&HeaderMap::new()).is_err());
    }
}
