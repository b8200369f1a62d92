//! The endless stream of message bodies from the shop's apps, with the faults of a real queue.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};

use super::shop::{Event, Shop};
use super::{ga4, queue};

/// The share of messages that are sent again.
const REPEATED_SHARE: f64 = 0.01;
/// The share of messages that can't be read.
const UNREADABLE_SHARE: f64 = 0.005;
/// A duplicate is one of this many earlier messages.
const REMEMBERED: usize = 200;

/// The choice of made-up messages.
#[derive(clap::Args, Clone, Copy)]
pub struct Choice {
    /// Format of the made-up messages
    #[arg(long, value_enum, default_value_t = Format::Queue)]
    format: Format,
    /// Seed of the made-up messages; the same seed makes the same messages, except for their times,
    /// which are in the last two weeks
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A shop's queue: GA4's export columns, `items` as unquoted text, no event or session ids
    Queue,
    /// App events with event, session and order ids; `items` as JSON
    Ga4,
}

/// An endless stream of message bodies.
pub struct Messages {
    format: Format,
    random: StdRng,
    shop: Shop,
    waiting: VecDeque<Event>,
    sent: VecDeque<Message>,
}

/// An event on its way.
#[derive(Clone)]
struct Message {
    event: Event,
    /// The time at which the event was replayed into the queue, if it was.
    replayed: Option<DateTime<Utc>>,
}

impl Messages {
    /// Events of the two weeks before `now`.
    pub fn new(choice: Choice, now: DateTime<Utc>) -> Self {
        let list_view_sizes: &[usize] = match choice.format {
            Format::Queue => &queue::LIST_VIEW_SIZES,
            Format::Ga4 => &ga4::LIST_VIEW_SIZES,
        };
        Self {
            format: choice.format,
            random: StdRng::seed_from_u64(choice.seed),
            shop: Shop::new(now, list_view_sizes),
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
        }
    }

    fn body(&self, message: &Message) -> String {
        match self.format {
            Format::Queue => queue::body(&message.event, message.replayed).to_string(),
            Format::Ga4 => ga4::body(&message.event),
        }
    }

    /// A message that was sent before; three of four have another replay time.
    fn repeat(&mut self) -> Option<String> {
        let mut message = self.sent.iter().choose(&mut self.random)?.clone();
        if self.random.random_bool(0.75) {
            let micros = self.random.random_range(1_000_000..600_000_000);
            let last = message.replayed.unwrap_or(message.event.at);
            message.replayed = Some(last + TimeDelta::microseconds(micros));
        }
        Some(self.body(&message))
    }

    fn next_event(&mut self) -> Event {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            self.waiting = self.shop.next_person(&mut self.random).into();
        }
    }

    /// A new message; nine of ten are replayed.
    fn next_message(&mut self) -> Message {
        let event = self.next_event();
        let micros = self.random.random_range(1_000_000..600_000_000);
        let replayed = event.at + TimeDelta::microseconds(micros);
        let is_replayed = self.random.random_bool(0.9);
        Message {
            event,
            replayed: is_replayed.then_some(replayed),
        }
    }
}

impl Iterator for Messages {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.random.random_bool(REPEATED_SHARE)
            && let Some(again) = self.repeat()
        {
            return Some(again);
        }
        let message = self.next_message();
        if self.random.random_bool(UNREADABLE_SHARE) {
            return Some(match self.format {
                Format::Queue => {
                    queue::unreadable(&message.event, message.replayed, &mut self.random)
                }
                Format::Ga4 => ga4::unreadable(&mut self.random),
            });
        }
        let body = self.body(&message);
        self.sent.push_back(message);
        if self.sent.len() > REMEMBERED {
            self.sent.pop_front();
        }
        Some(body)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_225_600, 0).unwrap()
    }

    fn bodies(format: Format, seed: u64, count: usize) -> Vec<String> {
        let choice = Choice { format, seed };
        Messages::new(choice, now()).take(count).collect()
    }

    fn events(bodies: &[String]) -> Vec<Value> {
        let read = bodies.iter().map(|body| serde_json::from_str(body));
        read.filter_map(Result::ok).collect()
    }

    #[test]
    fn a_seed_makes_the_same_events() {
        for format in [Format::Queue, Format::Ga4] {
            let first = bodies(format, 7, 500);
            assert_eq!(first, bodies(format, 7, 500));
            assert_ne!(first, bodies(format, 8, 500));
        }
    }

    #[test]
    fn all_four_events_and_unreadable_bodies_occur_in_either_format() {
        for format in [Format::Queue, Format::Ga4] {
            let bodies = bodies(format, 1, 20_000);
            for name in ["view_item_list", "view_item", "begin_checkout", "purchase"] {
                let there = |body: &String| body.contains(&format!("\"event_name\":\"{name}\""));
                assert!(bodies.iter().any(there), "{name}");
            }
            let refused =
                |body: &&String| !fact_model::flatten(body.as_bytes()).rejected.is_empty();
            let rejected = bodies.iter().filter(refused).count();
            assert!(
                (50..200).contains(&rejected),
                "{rejected} unreadable of 20,000"
            );
        }
    }

    #[test]
    fn the_queue_has_the_shape_of_the_published_one() {
        let bodies = bodies(Format::Queue, 1, 20_000);
        let events = events(&bodies);
        let keys: BTreeSet<&str> = events
            .iter()
            .flat_map(|event| event.as_object().unwrap().keys().map(String::as_str))
            .collect();
        assert_eq!(
            Vec::from_iter(keys),
            [
                "event_name",
                "event_timestamp",
                "items",
                "platform",
                "replay_timestamp",
                "user_id"
            ]
        );
        let of = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let rows: usize = events
            .iter()
            .map(|event| of(event, "items").matches("{item_id=").count())
            .sum();
        let rows_a_message = rows as f64 / events.len() as f64;
        assert!((1.5..1.9).contains(&rows_a_message), "{rows_a_message}");
        let views = events
            .iter()
            .filter(|event| event["event_name"] == "view_item_list")
            .count();
        assert!(views > events.len() * 7 / 10, "{views} list views");

        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for body in &bodies {
            for fact in fact_model::flatten(body.as_bytes()).facts {
                if let (Some(id), Some(name)) = (fact.list_id, fact.list_name) {
                    let names = names.entry(id.into_owned()).or_default();
                    names.insert(name.into_owned());
                }
            }
        }
        assert!(names["list_s"].len() > 10, "texts of searches share one id");
        assert_eq!(names["list_9"].len(), 4, "one list in four languages");
        assert!(bodies.iter().any(|body| body.contains("price=1.2345678E7")));
    }

    #[test]
    fn people_come_back_after_more_than_half_an_hour() {
        let mut times: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        let oldest = (now() - TimeDelta::days(14)).timestamp_micros();
        for event in events(&bodies(Format::Queue, 1, 20_000)) {
            let at = event["event_timestamp"].as_i64().unwrap();
            if at > 0 {
                assert!((oldest..now().timestamp_micros()).contains(&at), "{event}");
            }
            if let Some(user) = event["user_id"].as_str() {
                times.entry(user.to_owned()).or_default().insert(at);
            }
        }
        let visits = |times: &BTreeSet<i64>| {
            let gaps = times.iter().zip(times.iter().skip(1));
            1 + gaps
                .filter(|(at, next)| *next - *at > 1_800_000_000)
                .count()
        };
        let returning = times.values().filter(|times| visits(times) > 1).count();
        assert!(
            returning * 3 > times.len(),
            "{returning} of {}",
            times.len()
        );
    }

    #[test]
    fn ga4_events_say_where_a_visit_came_from_and_on_which_device() {
        let bodies = bodies(Format::Ga4, 1, 20_000);
        let mut people: BTreeMap<String, BTreeSet<[Option<String>; 2]>> = BTreeMap::new();
        let mut visits: BTreeMap<(String, String), BTreeSet<[Option<String>; 4]>> = BTreeMap::new();
        let mut versions: BTreeMap<String, BTreeMap<i64, String>> = BTreeMap::new();
        for body in &bodies {
            for fact in fact_model::flatten(body.as_bytes()).into_owned().facts {
                let own = |text: Option<Cow<'static, str>>| text.map(Cow::into_owned);
                let person = own(fact.user_pseudo_id).unwrap();
                let version = own(fact.app_version).unwrap();
                let at = fact.event_time.timestamp_micros();
                people
                    .entry(person.clone())
                    .or_default()
                    .insert([own(fact.device_category), own(fact.country)]);
                let visit = (person.clone(), own(fact.session_id).unwrap());
                visits.entry(visit).or_default().insert([
                    own(fact.traffic_source),
                    own(fact.traffic_medium),
                    own(fact.traffic_campaign),
                    Some(version.clone()),
                ]);
                versions.entry(person).or_default().insert(at, version);
            }
        }
        assert!(people.values().all(|known| known.len() == 1));
        assert!(visits.values().all(|known| known.len() == 1));
        assert!(versions.values().all(|known| known.values().is_sorted()));
        let countries: BTreeSet<_> = people
            .values()
            .flatten()
            .map(|[_, country]| country)
            .collect();
        assert_eq!(countries.len(), 6);
        let direct = visits
            .values()
            .flatten()
            .filter(|[source, ..]| source.as_deref() == Some("(direct)"));
        let share = direct.count() as f64 / visits.len() as f64;
        assert!((0.3..0.45).contains(&share), "{share} direct");
    }

    #[test]
    fn an_event_comes_again_as_it_was_but_for_the_time_of_its_replay() {
        let bodies = bodies(Format::Queue, 1, 20_000);
        let distinct: BTreeSet<&String> = bodies.iter().collect();
        let same = bodies.len() - distinct.len();
        let mut replays: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for mut event in events(&bodies) {
            let replay = event.as_object_mut().unwrap().remove("replay_timestamp");
            let replay = replay.unwrap_or_default().to_string();
            replays.entry(event.to_string()).or_default().insert(replay);
        }
        let again: usize = replays.values().map(|replays| replays.len() - 1).sum();
        assert!(same > 20 && again > 100, "{same} the same, {again} again");
    }
}
