//! Which pages a browser may let use the HTTP endpoints: etcd's `--cors`.
//!
//! A browser sends a page's simple POST without asking, and only hides the answer (CVE-2018-1098). So a request that
//! changes something is refused when its page is neither of this server nor of an origin that is allowed.

use http::{HeaderMap, HeaderValue, Method, Request, header};

/// The origins that are allowed.
#[derive(Debug)]
pub(crate) struct Origins {
    all: bool,
    listed: Vec<String>,
}

impl Origins {
    pub(crate) fn new(listed: Vec<String>) -> Origins {
        Origins { all: listed.iter().all(String::is_empty) || listed.iter().any(|origin| origin == "*"), listed }
    }

    /// Whether the request comes from a page that may not make it.
    pub(crate) fn is_foreign<B>(&self, request: &Request<B>) -> bool {
        let looks = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        // A WebSocket begins with a GET, whatever is sent over it, and browsers ask nobody before they open one.
        if looks && !request.headers().contains_key(header::UPGRADE) {
            return false;
        }
        let Some(origin) = request.headers().get(header::ORIGIN) else { return false };
        !self.is_allowed(origin) && !is_own(origin, request)
    }

    /// Says so in the answer.
    pub(crate) fn allow(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let allowed = match origin {
            _ if self.all => HeaderValue::from_static("*"),
            Some(origin) if self.is_allowed(origin) => origin.clone(),
            _ => return,
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        let methods = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        let names = HeaderValue::from_static("accept, content-type, authorization");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    }

    fn is_allowed(&self, origin: &HeaderValue) -> bool {
        self.all || self.listed.iter().any(|listed| listed.as_bytes() == origin.as_bytes())
    }
}

/// Whether the page came from the host that the request goes to.
fn is_own<B>(origin: &HeaderValue, request: &Request<B>) -> bool {
    let host = request.headers().get(header::HOST).map(HeaderValue::as_bytes);
    let host = host.or(request.uri().authority().map(|authority| authority.as_str().as_bytes()));
    let page = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host.as_bytes());
    page.is_some() && page == host
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn post(origin: &str) -> Request<()> {
        let request = Request::post("/v3/kv/put").header(header::HOST, "etcd.example:2379");
        if origin.is_empty() { request } else { request.header(header::ORIGIN, origin) }.body(()).unwrap()
    }

    #[test]
    fn foreign_pages_may_look_but_not_change() {
        let some = Origins::new(vec!["https://admin.example".to_owned()]);
        assert!(some.is_foreign(&post("https://evil.example")) && some.is_foreign(&post("null")));
        assert!(!some.is_foreign(&post("https://admin.example")));
        assert!(!some.is_foreign(&post("http://etcd.example:2379")), "this server's own page");
        assert!(!some.is_foreign(&post("")), "no browser");
        let mut socket = post("https://evil.example");
        *socket.method_mut() = Method::GET;
        assert!(!some.is_foreign(&socket));
        socket.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        assert!(some.is_foreign(&socket), "a WebSocket can change anything");
        assert!(!Origins::new(vec!["*".to_owned()]).is_foreign(&post("https://evil.example")));
        assert!(!Origins::new(Vec::new()).is_foreign(&post("https://evil.example")), "as etcd takes it");
    }

    #[test]
    fn an_answer_names_only_origins_that_are_allowed() {
        let allowed = |origins: &Origins, origin: &'static str| {
            let mut headers = HeaderMap::new();
            origins.allow(Some(&HeaderValue::from_static(origin)), &mut headers);
            headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).cloned()
        };
        let some = Origins::new(vec!["https://admin.example".to_owned()]);
        assert_eq!(allowed(&some, "https://admin.example").unwrap(), "https://admin.example");
        assert_eq!(allowed(&some, "https://evil.example"), None);
        assert_eq!(allowed(&Origins::new(vec!["*".to_owned()]), "https://evil.example").unwrap(), "*");
    }
}
