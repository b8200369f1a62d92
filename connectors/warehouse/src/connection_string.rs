//! Connection strings of libpq: a URL, keywords, or a service of `pg_service.conf`.
//!
//! The client parses most of it. This module handles the keywords that the client doesn't know: the
//! settings of TLS beyond `require`, `require_auth`, and the service. No error quotes the string,
//! since it may hold a password.

use std::net::IpAddr;
use std::path::PathBuf;

use tokio_postgres::config::Host;

use crate::error::Error;
use crate::require_auth::RequireAuth;
use crate::tls::{Roots, TlsMode, TlsSettings};

/// A parsed connection string.
#[derive(Debug)]
pub(crate) struct ConnectionString {
    pub(crate) client: tokio_postgres::Config,
    pub(crate) tls: TlsSettings,
    pub(crate) require_auth: Option<RequireAuth>,
}

/// A keyword and its unquoted value.
type Setting = (String, String);

const MALFORMED: &str = "is not a database URL; expected \
     postgres://user:password@host:port/database with special characters percent-encoded, or libpq \
     keywords such as `host=db user=etl password=… dbname=shop`";

impl ConnectionString {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let is_url = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        let (rest, ours) = if is_url {
            split_url(text)?
        } else {
            split_keywords(text)?
        };
        Ok(Self {
            client: rest.parse().map_err(|_| invalid(MALFORMED))?,
            require_auth: require_auth(&ours)?,
            tls: tls_settings(ours)?,
        })
    }

    pub(crate) fn has_password(&self) -> bool {
        self.client.get_password().is_some()
    }
}

/// The hosts on other machines whose names the `sslmode` does not verify.
pub(crate) fn unverified_hosts(client: &tokio_postgres::Config, tls: &TlsSettings) -> Vec<String> {
    if tls.mode == TlsMode::VerifyFull {
        return Vec::new();
    }
    let addresses = client.get_hostaddrs();
    let hosts = client.get_hosts().iter().enumerate();
    hosts
        .filter_map(|(index, host)| match host {
            Host::Tcp(name) => Some((name, addresses.get(index).copied())),
            #[cfg(unix)]
            Host::Unix(_) => None,
        })
        .filter(|(name, address)| {
            let address = address.or_else(|| name.parse().ok());
            !address.map_or(name.as_str() == "localhost", |address: IpAddr| {
                address.is_loopback()
            })
        })
        .map(|(name, _)| name.clone())
        .collect()
}

/// `problem` completes a sentence that begins with the name of the setting.
fn invalid(problem: impl std::fmt::Display) -> Error {
    Error::Setting(format!("`url` {problem}"))
}

fn is_ours(keyword: &str) -> bool {
    matches!(
        keyword,
        "sslmode" | "sslrootcert" | "sslcert" | "sslkey" | "require_auth" | "service"
    )
}

fn split_url(url: &str) -> Result<(String, Vec<Setting>), Error> {
    let Some((base, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), Vec::new()));
    };
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("service", _)) => {
                return Err(invalid(
                    "names a service; write it with keywords: `service=NAME password=…`",
                ));
            }
            Some((keyword, value)) if is_ours(keyword) => {
                let value = percent_decode(value).ok_or_else(|| invalid(MALFORMED))?;
                ours.push((keyword.to_owned(), value));
            }
            _ => theirs.push(pair),
        }
    }
    let rest = if theirs.is_empty() {
        base.to_owned()
    } else {
        format!("{base}?{}", theirs.join("&"))
    };
    Ok((rest, ours))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn split_keywords(text: &str) -> Result<(String, Vec<Setting>), Error> {
    let mut settings = keywords(text).ok_or_else(|| invalid(MALFORMED))?;
    let service = settings.iter().find(|(keyword, _)| keyword == "service");
    if let Some((_, name)) = service {
        let defaults = service_settings(name)?;
        let is_given = |wanted: &str| settings.iter().any(|(keyword, _)| keyword == wanted);
        let missing: Vec<Setting> = defaults
            .into_iter()
            .filter(|(keyword, _)| !is_given(keyword))
            .collect();
        settings.extend(missing);
    }
    let (ours, theirs): (Vec<Setting>, Vec<Setting>) = settings
        .into_iter()
        .partition(|(keyword, _)| is_ours(keyword));
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
    let rest: Vec<String> = theirs
        .iter()
        .map(|(keyword, value)| format!("{keyword}='{}'", quoted(value)))
        .collect();
    Ok((rest.join(" "), ours))
}

/// Parses `keyword = value` pairs by the rules of libpq: values with spaces are in single quotes,
/// and a backslash escapes a quote or a backslash.
/// <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE>
fn keywords(text: &str) -> Option<Vec<Setting>> {
    let mut settings = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (keyword, behind) = rest.split_once('=')?;
        let behind = behind.trim_start();
        let (value, behind) = match behind.strip_prefix('\'') {
            Some(quoted) => value_until(quoted, |letter| letter == '\'')
                .filter(|(_, behind)| behind.starts_with('\''))?,
            None => value_until(behind, char::is_whitespace)?,
        };
        settings.push((keyword.trim_end().to_owned(), value));
        rest = behind.strip_prefix('\'').unwrap_or(behind).trim_start();
    }
    Some(settings)
}

/// Splits `text` before the first unescaped letter for which `ends` is true, and unescapes the part
/// before it.
fn value_until(text: &str, ends: fn(char) -> bool) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '\\' => value.push(letters.next()?.1),
            letter if ends(letter) => return Some((value, text.get(place..)?)),
            letter => value.push(letter),
        }
    }
    Some((value, ""))
}

/// Reads the settings of a service from the file in `PGSERVICEFILE`, else `~/.pg_service.conf`.
fn service_settings(name: &str) -> Result<Vec<Setting>, Error> {
    let path = std::env::var_os("PGSERVICEFILE")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".pg_service.conf")))
        .ok_or_else(|| {
            invalid("names a service, and neither PGSERVICEFILE nor a home folder is known")
        })?;
    let text = std::fs::read_to_string(&path).map_err(|error| Error::File {
        content: format!("the service `{name}` that `url` names"),
        path: path.clone(),
        source: error.into(),
    })?;
    let mut lines = text.lines().map(str::trim);
    let heading = format!("[{name}]");
    if !lines.any(|line| line == heading) {
        return Err(invalid(format!(
            "names the service `{name}`, which {} does not hold",
            path.display()
        )));
    }
    let settings = lines
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let setting = |line: &str| {
        let (keyword, value) = line.split_once('=')?;
        Some((keyword.trim().to_owned(), value.trim().to_owned()))
    };
    settings
        .map(|line| {
            setting(line).ok_or_else(|| {
                invalid(format!(
                    "names the service `{name}`, and a line of it in {} has no `=`",
                    path.display()
                ))
            })
        })
        .collect()
}

fn require_auth(settings: &[Setting]) -> Result<Option<RequireAuth>, Error> {
    let mut given = settings.iter().rev();
    match given.find(|(keyword, _)| keyword == "require_auth") {
        Some((_, value)) => RequireAuth::parse(value)
            .map_err(|problem| invalid(format!("holds a `require_auth` that {problem}"))),
        None => Ok(None),
    }
}

fn tls_settings(settings: Vec<Setting>) -> Result<TlsSettings, Error> {
    let mut tls = TlsSettings::default();
    for (keyword, value) in settings {
        match keyword.as_str() {
            "sslmode" => {
                tls.mode = TlsMode::parse(&value).ok_or_else(|| {
                    invalid(
                        "holds an unknown `sslmode`; known are disable, allow, prefer, require, \
                         verify-ca and verify-full",
                    )
                })?;
            }
            "sslrootcert" if value == "system" => tls.roots = Some(Roots::System),
            "sslrootcert" => tls.roots = Some(Roots::File(value.into())),
            "sslcert" => tls.certificate = Some(value.into()),
            "sslkey" => tls.key = Some(value.into()),
            _ => {}
        }
    }
    if tls.certificate.is_some() != tls.key.is_some() {
        return Err(invalid(
            "holds one of `sslcert` and `sslkey`; both are needed",
        ));
    }
    Ok(tls)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_postgres::config::ChannelBinding;

    use super::*;

    #[test]
    fn a_url_and_keywords_mean_the_same() {
        for text in [
            "postgres://u:p%27%20%5Cw@db:6000/shop?sslmode=verify-full&options=-c%20x%3D1\
             &sslrootcert=%2Fca%20s.pem&sslcert=/c&sslkey=/k&channel_binding=require\
             &require_auth=%21password,!none",
            "host=db port = 6000 user=u password='p\\' \\\\w' dbname=shop sslmode=verify-full \
             options='-c x=1' sslrootcert='/ca s.pem' sslcert=/c sslkey=/k channel_binding=require \
             require_auth='!password,!none'",
        ] {
            let parsed = ConnectionString::parse(text).unwrap();
            assert_eq!(
                parsed.client.get_password(),
                Some(b"p' \\w".as_slice()),
                "{text}"
            );
            assert_eq!(parsed.client.get_hosts(), [Host::Tcp("db".to_owned())]);
            assert_eq!(parsed.client.get_ports(), [6000]);
            assert_eq!(parsed.client.get_options(), Some("-c x=1"));
            let binding = parsed.client.get_channel_binding();
            assert_eq!(binding, ChannelBinding::Require);
            assert_eq!(parsed.tls.mode, TlsMode::VerifyFull);
            assert_eq!(parsed.tls.roots, Some(Roots::File("/ca s.pem".into())));
            assert_eq!(parsed.tls.key, Some("/k".into()));
            let required = RequireAuth::parse("!password,!none").unwrap();
            assert_eq!(parsed.require_auth, required);
        }
    }

    #[test]
    fn hosts_of_other_machines_need_verify_full() {
        for (text, unverified) in [
            ("postgres://u@db/x", &["db"][..]),
            (
                "postgres://u@db/x?sslmode=verify-ca&sslrootcert=/ca.pem",
                &["db"],
            ),
            ("postgres://u@db/x?sslmode=verify-full", &[]),
            (
                "postgres://u@localhost,10.0.0.7/x?sslmode=require",
                &["10.0.0.7"],
            ),
            ("postgres://u@127.0.0.1/x", &[]),
            ("host=::1 user=u", &[]),
            ("host=/var/run/postgresql user=u", &[]),
            ("host=localhost hostaddr=10.0.0.7 user=u", &["localhost"]),
            ("host=db hostaddr=127.0.0.1 user=u", &[]),
        ] {
            let parsed = ConnectionString::parse(text).unwrap();
            let found = unverified_hosts(&parsed.client, &parsed.tls);
            assert_eq!(found, unverified, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn any_password_is_read_from_a_url_and_from_keywords(password in r"\PC{1,20}") {
            let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let quoted = password.replace('\\', r"\\").replace('\'', r"\'");
            for text in [
                format!("postgres://u:{encoded}@db/x?sslmode=require"),
                format!("host=db user=u password='{quoted}' sslmode=require"),
            ] {
                let parsed = ConnectionString::parse(&text).unwrap();
                prop_assert_eq!(parsed.client.get_password(), Some(password.as_bytes()));
                prop_assert_eq!(parsed.tls.mode, TlsMode::Require);
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused_without_the_password(
            before in r"[a-z0-9='\\%&?/:@. ]{0,20}",
            behind in r"[a-z0-9='\\%&?/:@. ]{0,20}",
        ) {
            for text in [
                format!("{before}password=hunter2{behind}"),
                format!("postgres://{before}:hunter2{behind}"),
                format!("postgres://u@db/x?{before}password=hunter2{behind}"),
            ] {
                if let Err(error) = ConnectionString::parse(&text) {
                    let error = error.chain();
                    prop_assert!(!error.contains("hunter2"), "{}: {}", text, error);
                }
            }
        }
    }

    #[test]
    fn errors_do_not_show_the_password() {
        for text in [
            "postgres://u:hunter2@db/x?sslmode=sure",
            "postgres://u:hunter2@db/x?sslcert=/c",
            "postgres://u:hunter2@db/x?require_auth=hunter2",
            "postgres://u:hunter2@db/x?service=prod",
            "host=db user=u password='hunter2",
            "host=db user=u password=hunter2 word",
        ] {
            let error = ConnectionString::parse(text).unwrap_err().chain();
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }
}
