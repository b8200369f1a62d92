//! Seconds and bytes as people say them: in the unit that fits.

/// How long ago something was, in short, for a table.
pub fn age(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{whole} s"),
        120..7_200 => format!("{} min", whole / 60),
        7_200..172_800 => format!("{} h", whole / 3_600),
        _ => format!("{} days", whole / 86_400),
    }
}

/// How long something is kept, for a sentence.
pub fn period(seconds: u32) -> String {
    match seconds {
        0..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Bytes, in MiB up to ten GiB.
pub fn size(bytes: i64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 10_240.0 {
        format!("{mib:.1} MiB")
    } else {
        format!("{:.1} GiB", mib / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_are_said_in_the_unit_that_fits() {
        let ages = [0.04, 9.96, 119.0, 120.0, 7_200.0, 172_800.0].map(age);
        assert_eq!(ages, ["0.0 s", "10.0 s", "119 s", "2 min", "2 h", "2 days"]);
        assert_eq!(size(1 << 20), "1.0 MiB");
        assert_eq!(size(20 << 30), "20.0 GiB");
    }
}
