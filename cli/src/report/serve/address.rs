//! The address to serve at, and the host names that requests may use.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use anyhow::{Context, anyhow};
use axum::http::HeaderMap;
use axum::http::header::HOST;
use tokio::net::TcpListener;

/// The host of an address that is a port alone.
const LOOPBACK: &str = "127.0.0.1";

/// A host name or IP address, and a port; port 0 is any free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Any free port of the loopback interface.
    pub fn any_port() -> Self {
        Self {
            host: LOOPBACK.to_owned(),
            port: 0,
        }
    }

    /// Listens at the first address of the host that can be bound.
    ///
    /// # Errors
    /// Fails if the host is unknown, or the port is taken or privileged.
    pub async fn bind(&self) -> anyhow::Result<TcpListener> {
        let target = (self.host.as_str(), self.port);
        TcpListener::bind(target).await.with_context(|| {
            format!(
                "cannot serve at {}; name another address, or port 0 for any free port",
                self.authority(self.port)
            )
        })
    }

    /// The URL of a server that is bound to `local`.
    pub fn url(&self, local: SocketAddr) -> String {
        let authority = if local.ip().is_unspecified() {
            format!("{LOOPBACK}:{}", local.port())
        } else {
            self.authority(local.port())
        };
        format!("http://{authority}/")
    }

    fn authority(&self, port: u16) -> String {
        if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }
}

impl FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let malformed =
            || anyhow!("expected a port such as 8080, or HOST:PORT such as 127.0.0.1:8080");
        let (host, port) = text.rsplit_once(':').unwrap_or((LOOPBACK, text));
        let port = port.parse().map_err(|_| malformed())?;
        let host = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(bracketed) => bracketed.ok_or_else(malformed)?,
            // The last group of an IPv6 address without brackets would pass for the port.
            None if host.contains(':') => return Err(malformed()),
            None => host,
        };
        if host.is_empty() || host.contains('/') {
            return Err(malformed());
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

/// The host names that requests may use. After DNS rebinding, requests of another site's page use
/// the name of that site.
pub struct Hosts(Option<String>);

impl Hosts {
    /// IP addresses, `localhost`, and the name that the server was started with.
    pub fn of(address: &Address) -> Self {
        let host = &address.host;
        Self(host.parse::<IpAddr>().is_err().then(|| host.clone()))
    }

    /// Returns true if the request's `Host` is one of these.
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else {
            return false;
        };
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((bracketed, _)) => bracketed,
            None => host.split(':').next().unwrap_or_default(),
        };
        name.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self
                .0
                .as_deref()
                .is_some_and(|own| name.eq_ignore_ascii_case(own))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn an_address_is_a_port_or_a_host_and_a_port() {
        let parsed = |text: &str| {
            let address: Address = text.parse().unwrap();
            (address.host, address.port)
        };
        assert_eq!(parsed("8080"), ("127.0.0.1".to_owned(), 8080));
        assert_eq!(parsed("LocalHost:0"), ("localhost".to_owned(), 0));
        assert_eq!(parsed("[::1]:80"), ("::1".to_owned(), 80));
        for wrong in [
            "",
            "localhost",
            ":80",
            "::1:80",
            "[::1:80",
            "http://a:1",
            "a:70000",
        ] {
            let error = wrong.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("HOST:PORT"), "{wrong}: {error}");
        }
    }

    #[test]
    fn the_url_names_a_host_that_a_browser_can_open() {
        let url = |text: &str, local: &str| {
            let address: Address = text.parse().unwrap();
            address.url(local.parse().unwrap())
        };
        assert_eq!(url("0", "127.0.0.1:4000"), "http://127.0.0.1:4000/");
        assert_eq!(url("shop.lan:80", "10.0.0.7:80"), "http://shop.lan:80/");
        assert_eq!(url("0.0.0.0:80", "0.0.0.0:80"), "http://127.0.0.1:80/");
        assert_eq!(url("[::1]:0", "[::1]:4000"), "http://[::1]:4000/");
    }

    #[test]
    fn a_rebound_name_is_refused() {
        let allows = |address: &str, host: &str| {
            let hosts = Hosts::of(&address.parse().unwrap());
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_str(host).unwrap())]);
            hosts.allow(&headers)
        };
        for host in [
            "localhost:8080",
            "LOCALHOST",
            "127.0.0.1:1",
            "[::1]:8080",
            "10.0.0.7",
        ] {
            assert!(allows("8080", host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:8080",
            "127.0.0.1.nip.io",
            "",
            "[x]",
        ] {
            assert!(!allows("8080", host), "{host}");
        }
        assert!(allows("shop.lan:80", "Shop.lan"));
        assert!(!allows("shop.lan:80", "other.lan"));
        assert!(!Hosts::of(&"80".parse().unwrap()).allow(&HeaderMap::new()));
    }
}
