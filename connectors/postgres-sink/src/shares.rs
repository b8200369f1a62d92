//! How many of the partitions are this sink's, among sinks that share them.
//!
//! Each computes it for itself from what PostgreSQL says of the locks, which is the same for all of them. Where two
//! have looked at different moments, one of them holds a partition more or less than it should until it looks again.

/// A sink among those that share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// What tells it apart: the process id of its session in the server.
    pub(crate) id: i32,
    /// Whether it is this one.
    pub(crate) is_us: bool,
    /// How many of the partitions it holds.
    pub(crate) holds: usize,
}

/// How many of `partitions` this sink may hold. Those that don't go round evenly stay with the sinks that have
/// the most already, so that as few as possible change hands.
pub(crate) fn share(members: &[Member], partitions: usize) -> usize {
    let mut members = members.to_vec();
    members.sort_by_key(|member| (std::cmp::Reverse(member.holds), member.id));
    let Some(rank) = members.iter().position(|member| member.is_us) else {
        // Without a place among them, nothing is ours.
        return 0;
    };
    let each = partitions / members.len();
    let rest = partitions % members.len();
    each + usize::from(rank < rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(holds: &[usize], us: usize) -> Vec<Member> {
        let member = |(index, holds): (usize, &usize)| Member {
            id: i32::try_from(index).unwrap(),
            is_us: index == us,
            holds: *holds,
        };
        holds.iter().enumerate().map(member).collect()
    }

    fn shares(holds: &[usize], partitions: usize) -> Vec<usize> {
        (0..holds.len())
            .map(|us| share(&members(holds, us), partitions))
            .collect()
    }

    #[test]
    fn all_partitions_are_shared_out_and_none_twice() {
        for partitions in 0..9 {
            for holds in [vec![0], vec![3, 1], vec![0, 0, 0], vec![1, 2, 3, 4, 5]] {
                let shares = shares(&holds, partitions);
                assert_eq!(shares.iter().sum::<usize>(), partitions, "{holds:?}");
                assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
            }
        }
        assert_eq!(share(&members(&[4], 1), 4), 0, "no place, no share");
    }

    #[test]
    fn what_does_not_go_round_evenly_stays_where_it_is() {
        assert_eq!(shares(&[4, 0], 4), [2, 2]);
        assert_eq!(shares(&[2, 2, 0], 4), [2, 1, 1]);
        assert_eq!(
            shares(&[1, 2, 1], 4),
            [1, 2, 1],
            "and nothing moves any more"
        );
        assert_eq!(shares(&[0, 1, 1, 0, 0], 2), [0, 1, 1, 0, 0]);
    }
}
