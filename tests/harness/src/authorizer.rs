// SPDX-License-Identifier: Apache-2.0
//! A service that Envoy asks whether a request may pass (ext_authz over HTTP), as it would ask an OAuth2 proxy: who has a session passes, and
//! who has none is sent to log in. It checks itself that it is told what it is to be told, and nothing else: otherwise it answers 400 and
//! why, which who sent the request sees.
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_authz_filter>

use crate::answers::Asked;
use http::{HeaderMap, Response, StatusCode};

/// What stands before the path that is asked about.
const PREFIX: &str = "/check";
/// Where a user is to come back to, made of the request that is asked about.
const REDIRECT: &str = "x-auth-request-redirect";
/// A header that is for the application alone.
const SECRET: &str = "x-secret";

/// Decides about a request: `session=NAME` is the whole cookie of a user who is logged in.
pub fn decide(asked: &Asked) -> Response<String> {
    let to = match redirect(asked) {
        Ok(to) => to,
        Err(wrong) => {
            let mut answer = Response::new(wrong);
            *answer.status_mut() = StatusCode::BAD_REQUEST;
            return answer;
        }
    };
    // Neither answer's x-inside is for anybody else.
    let answer = Response::builder().header("x-inside", "kept");
    let answer = match text(&asked.headers, "cookie").and_then(|cookie| cookie.strip_prefix("session=")) {
        Some(user) => answer.header("x-auth-request-user", user).body(String::new()),
        None => answer
            .status(StatusCode::FOUND)
            .header("location", format!("https://login.example.com/?rd={to}"))
            .header("set-cookie", "csrf=1")
            .body("log in".to_owned()),
    };
    answer.unwrap_or_default()
}

/// Where a user comes back to, or what is wrong with what was told.
fn redirect(asked: &Asked) -> Result<&str, String> {
    let Some(path) = asked.path.strip_prefix(PREFIX) else {
        return Err(format!("{} is not below {PREFIX}", asked.path));
    };
    if asked.headers.contains_key(SECRET) {
        return Err(format!("{SECRET} is not for me"));
    }
    let expected = format!("https://{}{path}", text(&asked.headers, "host").unwrap_or_default());
    match text(&asked.headers, REDIRECT) {
        Some(told) if told == expected => Ok(told),
        told => Err(format!("{REDIRECT} is {told:?} and not {expected}")),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&'static str, &'static str)]) -> Asked {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
        Asked { path: "/check/a?b=c".to_owned(), headers: headers.collect() }
    }

    #[test]
    fn who_is_told_too_little_or_too_much_says_so() {
        let (host, redirect) = (("host", "app.example.com"), (REDIRECT, "https://app.example.com/a?b=c"));
        let status = |headers: &[_]| decide(&asked(headers)).status().as_u16();
        assert_eq!(status(&[host, redirect, ("cookie", "session=alice")]), 200);
        assert_eq!(status(&[host, redirect]), 302);
        assert_eq!(status(&[host]), 400);
        assert_eq!(status(&[host, (REDIRECT, "https://other.example.com/a?b=c")]), 400);
        assert_eq!(status(&[host, redirect, (SECRET, "1")]), 400);
    }
}
