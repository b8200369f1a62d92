//! What a connector knows of its own health: which of its parts live, and which do what they are for.
//!
//! Alive and ready are different questions. A part that hangs makes the connector unhealthy, since only a restart
//! helps. A queue, topic or database that is away makes it unready: it waits, and a restart would help nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The health of one connector; clones are of the same one.
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
    /// The health of a connector that isn't ready before all of these have said that they work.
    #[must_use]
    pub fn of<'n>(parts: impl IntoIterator<Item = &'n str>) -> Self {
        let health = Self::default();
        for part in parts {
            health.troubled(part, "not reached yet");
        }
        health
    }

    /// `part` lives; if it does not say so again `within` this time, it hangs.
    pub fn beat(&self, part: &str, within: Duration) {
        let last = Instant::now();
        let mut parts = self.parts();
        match parts.beats.get_mut(part) {
            Some(beat) => *beat = Beat { last, within },
            None => drop(parts.beats.insert(part.to_owned(), Beat { last, within })),
        }
    }

    /// `part` has ended in good order and will not say anything any more.
    pub fn ended(&self, part: &str) {
        self.parts().beats.remove(part);
    }

    /// `part` does what it is for.
    pub fn works(&self, part: &str) {
        self.parts().troubles.remove(part);
    }

    /// `part` doesn't do what it is for.
    pub fn troubled(&self, part: &str, why: impl fmt::Display) {
        self.parts()
            .troubles
            .insert(part.to_owned(), why.to_string());
    }

    /// Whether every part lives.
    ///
    /// # Errors
    /// Those that hang, a line each.
    pub fn alive(&self) -> Result<(), String> {
        lines(self.parts().beats.iter().filter_map(|(part, beat)| {
            let silent = beat.last.elapsed();
            (silent > beat.within)
                .then(|| format!("{part}: has not moved for {} s", silent.as_secs()))
        }))
    }

    /// Whether every part lives and does what it is for.
    ///
    /// # Errors
    /// Those that don't, a line each, with the reason.
    pub fn ready(&self) -> Result<(), String> {
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

fn lines(troubles: impl Iterator<Item = String>) -> Result<(), String> {
    let troubles: Vec<String> = troubles.collect();
    if troubles.is_empty() {
        Ok(())
    } else {
        Err(troubles.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_hangs_is_a_matter_of_life_and_one_that_is_away_is_not() {
        let health = Health::of(["queue", "topic"]);
        assert_eq!(health.alive(), Ok(()));
        assert_eq!(
            health.ready(),
            Err("queue: not reached yet\ntopic: not reached yet".to_owned())
        );
        health.works("queue");
        health.works("topic");
        assert_eq!(health.ready(), Ok(()));
        health.troubled("topic", "no answer");
        assert_eq!(health.ready(), Err("topic: no answer".to_owned()));
        assert_eq!(health.alive(), Ok(()));
        health.works("topic");

        health.beat("receiving", Duration::ZERO);
        std::thread::sleep(Duration::from_millis(2));
        let hangs = Err("receiving: has not moved for 0 s".to_owned());
        assert_eq!((health.alive(), health.ready()), (hangs.clone(), hangs));
        health.beat("receiving", Duration::from_secs(60));
        assert_eq!(health.ready(), Ok(()));
        health.beat("receiving", Duration::ZERO);
        health.ended("receiving");
        assert_eq!(health.alive(), Ok(()));
    }
}
