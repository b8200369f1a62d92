//! The connector's health: the parts that are alive, and the parts that work.
//!
//! Alive and ready are different. A part that hangs makes the connector unhealthy: only a restart
//! helps. A queue, topic or database that is unreachable makes it unready: it waits, and a restart
//! would not help.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;

/// The health of one connector. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Parts>>);

#[derive(Debug, Default)]
struct Parts {
    beats: BTreeMap<String, Beat>,
    troubles: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Beat {
    last: Instant,
    within: Duration,
}

impl Health {
    /// The health of a connector that is unready until all of these parts have reported that they
    /// work.
    #[must_use]
    pub fn of<'n>(parts: impl IntoIterator<Item = &'n str>) -> Self {
        let health = Self::default();
        for part in parts {
            health.troubled(part, "not reached yet");
        }
        health
    }

    /// `part` is alive. It hangs if it does not report so again `within` this time.
    pub fn beat(&self, part: &str, within: Duration) {
        let last = Instant::now();
        let mut parts = self.parts();
        match parts.beats.get_mut(part) {
            Some(beat) => *beat = Beat { last, within },
            None => drop(parts.beats.insert(part.to_owned(), Beat { last, within })),
        }
    }

    /// `part` has ended normally and will not report again.
    pub fn ended(&self, part: &str) {
        self.parts().beats.remove(part);
    }

    /// `part` works.
    pub fn works(&self, part: &str) {
        self.parts().troubles.remove(part);
    }

    /// `part` does not work.
    pub fn troubled(&self, part: &str, why: impl fmt::Display) {
        self.parts()
            .troubles
            .insert(part.to_owned(), why.to_string());
    }

    /// Succeeds if every part is alive.
    ///
    /// # Errors
    /// [`Error::Unhealthy`] with the parts that hang, a line each.
    pub fn alive(&self) -> Result<(), Error> {
        lines(self.parts().beats.iter().filter_map(|(part, beat)| {
            let silent = beat.last.elapsed();
            (silent > beat.within)
                .then(|| format!("{part}: has not moved for {} s", silent.as_secs()))
        }))
    }

    /// Succeeds if every part is alive and works.
    ///
    /// # Errors
    /// [`Error::Unhealthy`] with the parts that hang or do not work, a line each with the reason.
    pub fn ready(&self) -> Result<(), Error> {
        self.alive()?;
        lines(
            self.parts()
                .troubles
                .iter()
                .map(|(part, why)| format!("{part}: {why}")),
        )
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lines(troubles: impl Iterator<Item = String>) -> Result<(), Error> {
    let troubles: Vec<String> = troubles.collect();
    if troubles.is_empty() {
        Ok(())
    } else {
        Err(Error::Unhealthy(troubles.join("\n")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(health: &Health) -> Result<(), String> {
        health.alive().map_err(|error| error.to_string())
    }

    fn ready(health: &Health) -> Result<(), String> {
        health.ready().map_err(|error| error.to_string())
    }

    #[test]
    fn a_part_that_hangs_makes_it_unhealthy_and_one_that_is_unreachable_only_unready() {
        let health = Health::of(["queue", "topic"]);
        assert_eq!(alive(&health), Ok(()));
        assert_eq!(
            ready(&health),
            Err("queue: not reached yet\ntopic: not reached yet".to_owned())
        );
        health.works("queue");
        health.works("topic");
        assert_eq!(ready(&health), Ok(()));
        health.troubled("topic", "no answer");
        assert_eq!(ready(&health), Err("topic: no answer".to_owned()));
        assert_eq!(alive(&health), Ok(()));
        health.works("topic");

        health.beat("receiving", Duration::ZERO);
        std::thread::sleep(Duration::from_millis(2));
        let hangs = Err("receiving: has not moved for 0 s".to_owned());
        assert_eq!((alive(&health), ready(&health)), (hangs.clone(), hangs));
        health.beat("receiving", Duration::from_secs(60));
        assert_eq!(ready(&health), Ok(()));
        health.beat("receiving", Duration::ZERO);
        health.ended("receiving");
        assert_eq!(alive(&health), Ok(()));
    }
}
