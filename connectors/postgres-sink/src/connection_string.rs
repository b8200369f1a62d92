//! A connection string as libpq takes it: a URL, keywords, or a service of `pg_service.conf`.
//!
//! The client takes most of it by itself. What it does not know is taken out before: the settings
//! of TLS beyond `require`, and the service. No message quotes the string, which may hold a password.

use std::path::PathBuf;

use crate::tls::{Roots, TlsMode, TlsSettings};

/// A connection string, in the client's terms and in ours.
#[derive(Debug)]
pub(crate) struct ConnectionString {
    pub(crate) database: tokio_postgres::Config,
    pub(crate) tls: TlsSettings,
}

/// Keyword and value, unquoted.
type Setting = (String, String);

const MALFORMED: &str = "is no database URL; expected postgres://user:password@host:port/database with special characters \
     percent-encoded, or libpq keywords such as `host=db user=etl password=… dbname=shop`";

impl ConnectionString {
    /// # Errors
    /// What is wrong with `text`, as the rest of a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let is_url = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        let (rest, ours) = if is_url {
            split_url(text)?
        } else {
            split_keywords(text)?
        };
        let database = rest.parse().map_err(|_| MALFORMED.to_owned())?;
        Ok(Self {
            database,
            tls: tls_settings(ours)?,
        })
    }
}

fn is_ours(keyword: &str) -> bool {
    matches!(
        keyword,
        "sslmode" | "sslrootcert" | "sslcert" | "sslkey" | "service"
    )
}

fn split_url(url: &str) -> Result<(String, Vec<Setting>), String> {
    let Some((base, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), Vec::new()));
    };
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("service", _)) => {
                return Err(
                    "names a service; write it with keywords: `service=NAME password=…`".to_owned(),
                );
            }
            Some((keyword, value)) if is_ours(keyword) => {
                let value = percent_decode(value).ok_or_else(|| MALFORMED.to_owned())?;
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

fn split_keywords(text: &str) -> Result<(String, Vec<Setting>), String> {
    let mut settings = keywords(text).ok_or_else(|| MALFORMED.to_owned())?;
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

/// `keyword = value` pairs by the rules of libpq: values in single quotes where they hold spaces,
/// a backslash before a quote or a backslash.
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

/// The unescaped text before the letter that ends it, and the rest from that letter on.
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

/// The settings of a service, from the file that `PGSERVICEFILE` names, else `~/.pg_service.conf`.
fn service_settings(name: &str) -> Result<Vec<Setting>, String> {
    let path = std::env::var_os("PGSERVICEFILE")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".pg_service.conf")))
        .ok_or("names a service, and neither PGSERVICEFILE nor a home folder is known")?;
    let text = std::fs::read_to_string(&path).map_err(|error| {
        format!(
            "names the service `{name}`, and {} can't be read: {error}",
            path.display()
        )
    })?;
    let mut lines = text.lines().map(str::trim);
    lines
        .find(|line| {
            line.strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
                == Some(name)
        })
        .ok_or_else(|| {
            format!(
                "names the service `{name}`, which {} does not hold",
                path.display()
            )
        })?;
    let settings = lines
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    settings
        .map(|line| match line.split_once('=') {
            Some((keyword, value)) => Ok((keyword.trim().to_owned(), value.trim().to_owned())),
            None => Err(format!(
                "names the service `{name}`, and a line of it in {} has no `=`",
                path.display()
            )),
        })
        .collect()
}

fn tls_settings(settings: Vec<Setting>) -> Result<TlsSettings, String> {
    let mut tls = TlsSettings::default();
    for (keyword, value) in settings {
        match keyword.as_str() {
            "sslmode" => tls.mode = TlsMode::parse(&value)?,
            "sslrootcert" if value == "system" => tls.roots = Some(Roots::System),
            "sslrootcert" => tls.roots = Some(Roots::File(value.into())),
            "sslcert" => tls.certificate = Some(value.into()),
            "sslkey" => tls.key = Some(value.into()),
            _ => {}
        }
    }
    if tls.certificate.is_some() != tls.key.is_some() {
        return Err("holds one of `sslcert` and `sslkey`; both are needed".to_owned());
    }
    Ok(tls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_postgres::config::Host;

    #[test]
    fn a_url_and_keywords_say_the_same() {
        for text in [
            "postgres://u:p%27%20%5Cw@db:6000/shop?sslmode=verify-full&options=-c%20x%3D1&sslrootcert=%2Fca%20s.pem&sslcert=/c&sslkey=/k",
            r"host=db port = 6000 user=u password='p\' \\w' dbname=shop sslmode=verify-full options='-c x=1' sslrootcert='/ca s.pem' sslcert=/c sslkey=/k",
        ] {
            let parsed = ConnectionString::parse(text).unwrap();
            assert_eq!(
                parsed.database.get_password(),
                Some(b"p' \\w".as_slice()),
                "{text}"
            );
            assert_eq!(parsed.database.get_hosts(), [Host::Tcp("db".to_owned())]);
            assert_eq!(parsed.database.get_ports(), [6000]);
            assert_eq!(parsed.database.get_options(), Some("-c x=1"));
            assert_eq!(parsed.tls.mode, TlsMode::VerifyFull);
            assert_eq!(parsed.tls.roots, Some(Roots::File("/ca s.pem".into())));
            assert_eq!(parsed.tls.key, Some("/k".into()));
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for text in [
            "postgres://u:hunter2@db/x?sslmode=sure",
            "postgres://u:hunter2@db/x?sslcert=/c",
            "postgres://u:hunter2@db/x?service=prod",
            "host=db user=u password='hunter2",
            "host=db user=u password=hunter2 word",
        ] {
            let error = ConnectionString::parse(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }
}
