//! Compares and records transcripts.

use std::path::Path;

/// Compares a transcript with the recorded one; or records it.
pub fn compare(name: &str, transcript: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/node/transcript/recorded")
        .join(format!("{name}.txt"));
    if std::env::var_os("ETL_RECORD").is_some() {
        assert!(
            super::scene::on_profile(),
            "only a real cluster is recorded: set ETL_TEST_CLUSTER=profile"
        );
        std::fs::write(&path, transcript).unwrap();
        return;
    }
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        recorded == transcript,
        "{} differs (- recorded, + seen):\n{}",
        path.display(),
        difference(&recorded, transcript)
    );
}

/// Returns the lines that differ, each with two lines of context.
fn difference(recorded: &str, seen: &str) -> String {
    let recorded: Vec<_> = recorded.lines().collect();
    let seen: Vec<_> = seen.lines().collect();
    // The length of the longest common subsequence of the rest, for every pair of positions.
    let mut common = vec![vec![0_usize; seen.len() + 1]; recorded.len() + 1];
    for (r, line) in recorded.iter().enumerate().rev() {
        for (s, other) in seen.iter().enumerate().rev() {
            common[r][s] = if line == other {
                common[r + 1][s + 1] + 1
            } else {
                common[r + 1][s].max(common[r][s + 1])
            };
        }
    }
    let mut lines = Vec::new();
    let (mut r, mut s) = (0, 0);
    while r < recorded.len() || s < seen.len() {
        if r < recorded.len() && s < seen.len() && recorded[r] == seen[s] {
            lines.push((' ', recorded[r]));
            (r, s) = (r + 1, s + 1);
        } else if s == seen.len() || (r < recorded.len() && common[r + 1][s] >= common[r][s + 1]) {
            lines.push(('-', recorded[r]));
            r += 1;
        } else {
            lines.push(('+', seen[s]));
            s += 1;
        }
    }
    let near_a_change = |at: usize| {
        let around = at.saturating_sub(2)..(at + 3).min(lines.len());
        lines[around].iter().any(|(mark, _)| *mark != ' ')
    };
    (0..lines.len())
        .filter(|at| near_a_change(*at))
        .map(|at| format!("{} {}\n", lines[at].0, lines[at].1))
        .collect()
}
