//! `require_auth` of libpq: the methods of authentication that a server may use.
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-REQUIRE-AUTH>
//!
//! The client answers every method that it knows. So whoever answers in the server's place asks for
//! the password in clear text, and gets it. [`AuthCheck`] reads the server's messages before the
//! client does, and ends the connection at a request that is not allowed.

use std::fmt;
use std::ops::ControlFlow;

/// The tag of the messages that ask for authentication, and end it.
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
const AUTHENTICATION: u8 = b'R';
/// The bytes of a message's tag and length.
const HEADER: usize = 5;
/// The bytes of a message's length, which counts itself, and of the code behind it.
const WORD: usize = 4;

/// A method of authentication, by its name in `require_auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    None,
    Password,
    Md5,
    ScramSha256,
    Gss,
    Sspi,
    Oauth,
}

const METHODS: [Method; 7] = [
    Method::None,
    Method::Password,
    Method::Md5,
    Method::ScramSha256,
    Method::Gss,
    Method::Sspi,
    Method::Oauth,
];

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Password => "password",
            Self::Md5 => "md5",
            Self::ScramSha256 => "scram-sha-256",
            Self::Gss => "gss",
            Self::Sspi => "sspi",
            Self::Oauth => "oauth",
        }
    }

    /// The method of a server's request, by its code. `None` for methods that `require_auth` has no
    /// name for; the client refuses them.
    fn of_request(code: u32) -> Option<Self> {
        match code {
            3 => Some(Self::Password),
            5 => Some(Self::Md5),
            7 => Some(Self::Gss),
            9 => Some(Self::Sspi),
            // SASL. The client knows no mechanism besides SCRAM.
            10 => Some(Self::ScramSha256),
            _ => None,
        }
    }
}

/// The value of `require_auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequireAuth {
    text: String,
    allowed: Vec<Method>,
}

impl RequireAuth {
    /// Parses a list of methods, or of methods with `!` before each, which are those that are not
    /// allowed. An empty list allows all of them.
    ///
    /// # Errors
    /// A sentence about the setting `require_auth`, whose subject is left out.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        if text.is_empty() {
            return Ok(None);
        }
        let is_negated = text.starts_with('!');
        let mut named = Vec::new();
        for word in text.split(',') {
            let name = match word.strip_prefix('!') {
                Some(name) if is_negated => name,
                None if !is_negated => word,
                _ => return Err("has methods with `!` and without; all or none of them need it"),
            };
            let method = METHODS.into_iter().find(|method| method.name() == name);
            let method = method.ok_or(
                "has an unknown method; known are password, md5, scram-sha-256, gss, sspi, oauth \
                 and none, with commas and without spaces between them",
            )?;
            if named.contains(&method) {
                return Err("has a method twice");
            }
            named.push(method);
        }
        let is_allowed = |method: &Method| named.contains(method) != is_negated;
        Ok(Some(Self {
            text: text.to_owned(),
            allowed: METHODS.into_iter().filter(is_allowed).collect(),
        }))
    }

    fn check(&self, method: Option<Method>) -> Result<(), AuthRefused> {
        match method {
            Some(method) if !self.allowed.contains(&method) => Err(AuthRefused {
                method,
                required: self.text.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// The server asked for a method that `require_auth` does not allow. Nothing was answered.
#[derive(Debug)]
pub(crate) struct AuthRefused {
    method: Method,
    required: String,
}

impl std::error::Error for AuthRefused {}

impl fmt::Display for AuthRefused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asks = match self.method {
            Method::None => "lets the client in without authentication (method none)",
            Method::Password => "asks for the password in clear text (method password)",
            Method::Md5 => "asks for the password as an MD5 hash (method md5)",
            Method::ScramSha256 => "asks for a proof of the password (method scram-sha-256)",
            Method::Gss | Method::Sspi | Method::Oauth => "asks for another method",
        };
        write!(
            out,
            "the server {asks}, which `require_auth={}` does not allow; no password was sent. \
             Check that it is the right server, have its pg_hba.conf name another method (for \
             scram-sha-256 with a role whose password was set under \
             password_encryption = 'scram-sha-256'), or allow {} in `require_auth`",
            self.required,
            self.method.name()
        )
    }
}

/// Reads the server's messages up to the end of the authentication.
#[derive(Debug)]
pub(crate) struct AuthCheck {
    required: RequireAuth,
    /// The beginning of the next message.
    start: Vec<u8>,
    /// The bytes of the current message that are still to come, and don't matter.
    skipped: usize,
    was_asked: bool,
}

impl AuthCheck {
    pub(crate) fn new(required: RequireAuth) -> Self {
        Self {
            required,
            start: Vec::with_capacity(HEADER + WORD),
            skipped: 0,
            was_asked: false,
        }
    }

    /// Reads the next bytes of the server. Breaks at the end of the authentication. A request ends
    /// with or after its code, so one that is not allowed is found before the client has all of it.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Result<ControlFlow<()>, AuthRefused> {
        loop {
            let skipped = self.skipped.min(bytes.len());
            self.skipped -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((first, rest)) = bytes.split_first() else {
                return Ok(ControlFlow::Continue(()));
            };
            bytes = rest;
            self.start.push(*first);
            let (length, read) = match *self.start.as_slice() {
                [AUTHENTICATION, a, b, c, d, e, f, g, h] => {
                    if self.request(u32::from_be_bytes([e, f, g, h]))?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    ([a, b, c, d], 2 * WORD)
                }
                [tag, a, b, c, d] if tag != AUTHENTICATION => ([a, b, c, d], WORD),
                _ => continue,
            };
            // A length that is too small is an error for the client.
            let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            self.skipped = length.saturating_sub(read);
            self.start.clear();
        }
    }

    fn request(&mut self, code: u32) -> Result<ControlFlow<()>, AuthRefused> {
        if code == 0 {
            if !self.was_asked {
                self.required.check(Some(Method::None))?;
            }
            return Ok(ControlFlow::Break(()));
        }
        self.was_asked = true;
        self.required.check(Method::of_request(code))?;
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(text: &str) -> RequireAuth {
        RequireAuth::parse(text).unwrap().unwrap()
    }

    /// An authentication message with this code and content.
    fn message(code: u32, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(8 + content.len()).unwrap();
        [
            &b"R"[..],
            &length.to_be_bytes(),
            &code.to_be_bytes(),
            content,
        ]
        .concat()
    }

    const NOTICE: &[u8] = b"N\0\0\0\x09hello";

    #[test]
    fn a_list_names_what_is_allowed_or_what_is_not() {
        assert_eq!(RequireAuth::parse(""), Ok(None));
        assert_eq!(
            required("md5,scram-sha-256").allowed,
            [Method::Md5, Method::ScramSha256]
        );
        assert_eq!(
            required("!password,!md5,!none").allowed,
            [
                Method::ScramSha256,
                Method::Gss,
                Method::Sspi,
                Method::Oauth
            ]
        );
        for text in [
            "scram",
            "md5,",
            "md5, password",
            "md5,!password",
            "!md5,password",
            "!!md5",
            "md5,md5",
            "!",
            "MD5",
        ] {
            assert!(RequireAuth::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_allowed_requests_pass_however_their_bytes_arrive() {
        let scram = [
            message(10, b"SCRAM-SHA-256\0\0"),
            message(11, b"r=x,s=y,i=4096"),
            message(12, b"v=z"),
            message(0, b""),
        ]
        .concat();
        let clear = [message(3, b""), message(0, b"")].concat();
        let md5 = [message(5, b"salt"), message(0, b"")].concat();
        let trusted = message(0, b"");
        let switched = [message(10, b"SCRAM-SHA-256\0\0"), message(3, b"")].concat();
        for (list, said, allowed) in [
            ("scram-sha-256", &scram, true),
            ("scram-sha-256", &clear, false),
            ("scram-sha-256", &md5, false),
            ("scram-sha-256", &trusted, false),
            ("scram-sha-256", &switched, false),
            ("!password", &scram, true),
            ("!password", &clear, false),
            ("!password", &md5, true),
            ("!password", &trusted, true),
            ("!none", &trusted, false),
            ("!none", &clear, true),
            ("none", &trusted, true),
            ("none", &scram, false),
            ("password,md5", &md5, true),
            ("gss", &scram, false),
        ] {
            let said = [NOTICE, said.as_slice()].concat();
            for size in [1, 2, 7, 9, said.len()] {
                let mut check = AuthCheck::new(required(list));
                let mut outcome = Ok(ControlFlow::Continue(()));
                for part in said.chunks(size) {
                    outcome = check.read(part);
                    if !matches!(outcome, Ok(ControlFlow::Continue(()))) {
                        break;
                    }
                }
                match outcome {
                    Ok(flow) => assert!(allowed && flow.is_break(), "{list}, {size}"),
                    Err(refused) => assert!(!allowed, "{list}, {size}: {refused}"),
                }
            }
        }
    }

    #[test]
    fn a_refusal_comes_before_the_request_is_whole() {
        let clear = message(3, b"");
        let mut check = AuthCheck::new(required("scram-sha-256"));
        assert!(check.read(&clear[..clear.len() - 1]).is_ok());
        let refused = check.read(&clear[clear.len() - 1..]).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("in clear text (method password)"), "{text}");
        assert!(text.contains("`require_auth=scram-sha-256`"), "{text}");
    }
}
