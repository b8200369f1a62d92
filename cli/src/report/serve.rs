//! `etl report --serve ADDR`: serves the page over HTTP, refreshes it, and shows arriving events.
//!
//! The server only reads: it answers GET and HEAD, sets no cookies, and opens each transaction
//! read-only. Viewers of the same range ([`asked`]) share one computation ([`pages`]) and one
//! reading of the live strip ([`live`]).

mod address;
mod asked;
mod connections;
mod http;
mod live;
mod pages;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;

pub use self::address::Address;
use self::address::Hosts;
use self::connections::Connections;
use self::http::Site;
use self::live::Live;
use self::pages::Pages;
use crate::report::figures::Limits;
use crate::up::Interrupted;

/// A server that is bound to its port.
pub struct Server {
    listener: TcpListener,
    local: SocketAddr,
    address: Address,
    site: Site,
}

impl Server {
    /// Binds `address`. Connects to the database at the first request.
    ///
    /// # Errors
    /// Fails if the address cannot be bound, or the URL is malformed.
    pub async fn bind(
        address: Address,
        database_url: &str,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        let listener = address.bind().await?;
        let local = listener
            .local_addr()
            .context("cannot read the bound address")?;
        let connections = Arc::new(Connections::new(database_url)?);
        let site = Site {
            pages: Pages::new(Arc::clone(&connections), limits),
            live: Arc::new(Live::new(connections)),
            hosts: Arc::new(Hosts::of(&address)),
        };
        Ok(Self {
            listener,
            local,
            address,
            site,
        })
    }

    /// The address to open in a browser.
    pub fn url(&self) -> String {
        self.address.url(self.local)
    }

    /// Reads the live strip once.
    ///
    /// # Errors
    /// Fails if the database is unreachable, or its tables are missing or forbidden.
    async fn check(&self) -> anyhow::Result<()> {
        let reading = self.site.live.read().await;
        reading.map(drop).map_err(|reason| anyhow!("{reason}"))
    }

    /// Serves until the future is dropped, which cancels all requests and their queries.
    pub async fn run(self) {
        http::serve(self.listener, self.site).await;
    }
}

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// Fails if the address cannot be bound, or the database cannot be read.
pub async fn run(address: Address, database_url: &str, limits: Limits) -> anyhow::Result<ExitCode> {
    let mut interrupted = Interrupted::listen()?;
    let served = async {
        let server = Server::bind(address, database_url, limits).await?;
        server.check().await?;
        if !server.local.ip().is_loopback() {
            errln!(
                "warning: every machine that can reach {} can read the report: \
                 it has no password and no TLS",
                server.local
            );
        }
        outln!("{}", server.url());
        errln!("Serving the report; Ctrl-C stops it.");
        server.run().await;
        anyhow::Ok(())
    };
    tokio::select! {
        served = served => served?,
        () = interrupted.wait() => {}
    }
    Ok(ExitCode::SUCCESS)
}
