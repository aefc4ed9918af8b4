//! Where a stream resumes: at the beginning of the segment that holds the first byte missing from the directory, along
//! the server's present history. A pure function over what is held.

use crate::{
    store::{Held, Inventory},
    wal::{Lsn, SegmentName, SegmentNo, SegmentSize, TimelineHistory, TimelineId},
};

/// A place in the WAL: the beginning of a segment, on a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) timeline: TimelineId,
    pub(crate) lsn: Lsn,
}

/// What the directory says about where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Here.
    At(Position),
    /// Nothing in it lies on the server's history: the slot, or the server's present, decides.
    Anywhere,
    /// It holds a timeline that this server has yet to come to. Following would mean going backwards.
    ServerIsBehind(TimelineId),
}

/// Where to go on, by what is held and how the server came to its present.
///
/// A segment's highest timeline counts, because its file begins with its ancestors' bytes. A segment behind the end of its
/// timeline is a divergent tail and counts for nothing. Of several `.partial`s in a row (a crash came between a flush and
/// its rename) the lowest is the first that may lack bytes.
pub(crate) fn resume(held: &Inventory, history: &TimelineHistory, size: SegmentSize) -> Resume {
    let timelines = held.segments.keys().map(|name| name.timeline).chain(held.histories.iter().copied());
    if let Some(ahead) = timelines.max().filter(|&timeline| timeline > history.timeline()) {
        return Resume::ServerIsBehind(ahead);
    }
    let Some((mut name, held_as)) = highest(held, history, size, None) else { return Resume::Anywhere };
    if held_as == Held::Partial {
        while let Some(previous) = name.segment.previous()
            && let Some((lower, Held::Partial)) = highest(held, history, size, Some(previous))
        {
            name = lower;
        }
        return Resume::At(Position { timeline: name.timeline, lsn: size.start_of(name.segment) });
    }
    let end = size.end_of(name.segment);
    let missing = history.end_of(name.timeline).map_or(end, |left| left.min(end));
    Resume::At(Position { timeline: history.timeline_at(missing), lsn: size.floor(missing) })
}

/// The highest segment on the way to the server's present (or the one asked for), on its highest timeline.
fn highest(
    held: &Inventory,
    history: &TimelineHistory,
    size: SegmentSize,
    only: Option<SegmentNo>,
) -> Option<(SegmentName, Held)> {
    let on_the_way = |name: &SegmentName| {
        history.begin_of(name.timeline).is_some_and(|begin| begin < size.end_of(name.segment))
            && history.end_of(name.timeline).is_none_or(|end| size.start_of(name.segment) < end)
    };
    let asked_for = |name: &SegmentName| only.is_none_or(|segment| name.segment == segment);
    let mut downwards = held.segments.iter().rev().skip_while(|(name, _)| !asked_for(name));
    match only {
        Some(_) => downwards.take_while(|(name, _)| asked_for(name)).find(|(name, _)| on_the_way(name)),
        None => downwards.find(|(name, _)| on_the_way(name)),
    }
    .map(|(&name, &held_as)| (name, held_as))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn tli(number: u32) -> TimelineId {
        TimelineId::new(number).expect("not zero")
    }

    /// `held`: "timeline:segment", with a `p` where it is partial. `ends`: where timelines 1, 2, … were left, in MB.
    fn check(held: &str, ends: &[f64], expected: &str) {
        let size = SegmentSize::new(MIB).expect("1 MB");
        let mut inventory = Inventory::default();
        for word in held.split_whitespace() {
            let (timeline, segment) = word.split_once(':').expect("timeline:segment");
            let how = if segment.ends_with('p') { Held::Partial } else { Held::Complete };
            let segment = SegmentNo::new(segment.trim_end_matches('p').parse().expect("a number"));
            let timeline = tli(timeline.parse().expect("a number"));
            inventory.segments.insert(SegmentName { segment, timeline }, how);
        }
        let lines: String = ends
            .iter()
            .enumerate()
            .map(|(index, end)| format!("{}\t{}\tx\n", index + 1, Lsn::new((end * MIB as f64) as u64)))
            .collect();
        let history = TimelineHistory::parse(tli(ends.len() as u32 + 1), lines.as_bytes()).expect("well-formed");
        let resumed = match resume(&inventory, &history, size) {
            Resume::At(Position { timeline, lsn }) => format!("{timeline}:{}", lsn.get() as f64 / MIB as f64),
            other => format!("{other:?}"),
        };
        assert_eq!(resumed, expected, "{held} along {ends:?}");
    }

    #[test]
    fn on_one_timeline_it_goes_on_where_it_stopped() {
        check("", &[], "Anywhere");
        check("1:3 1:4 1:5p", &[], "1:5");
        check("1:3 1:4", &[], "1:5");
        check("1:5p", &[], "1:5");
    }

    #[test]
    fn of_several_partials_the_lowest_is_the_start() {
        check("1:3 1:4p 1:5p", &[], "1:4");
        check("1:4p 1:5p 1:6p", &[], "1:4");
        check("1:3p 1:4 1:5p", &[], "1:5");
    }

    #[test]
    fn across_a_promotion_the_old_timeline_is_finished_first() {
        check("1:3 1:4p", &[4.5], "1:4");
        check("1:3", &[6.5], "1:4");
        check("1:3 1:4p 2:4p", &[4.5], "2:4");
        check("1:3 1:4p 2:4", &[4.5], "2:5");
        check("1:3 1:4p 2:4 2:5p", &[4.5], "2:5");
    }

    #[test]
    fn a_switch_point_on_a_segment_boundary_starts_the_next_timeline() {
        check("1:3 1:4", &[5.0], "2:5");
        check("1:3 1:4p", &[5.0], "1:4");
        check("1:4 2:5p", &[5.0], "2:5");
    }

    #[test]
    fn a_divergent_tail_is_not_chosen_again() {
        check("1:3 1:4 1:5p", &[4.5], "2:4");
        check("1:3 1:4 1:5 1:6 1:7 1:8p", &[4.5], "2:4");
        check("1:3 1:4 1:5 1:6p 2:4 2:5p", &[4.5], "2:5");
        check("1:6 1:7", &[4.5], "Anywhere");
        check("1:4 1:5", &[5.0], "2:5");
    }

    #[test]
    fn several_promotions_are_followed_one_by_one() {
        check("1:3p", &[4.5, 7.25], "1:3");
        check("1:4", &[4.5, 7.25], "2:4");
        check("1:4 2:4 2:5 2:6", &[4.5, 7.25], "2:7");
        check("2:7", &[4.5, 7.25], "3:7");
        check("1:4", &[4.25, 4.5], "2:4");
        check("1:4 2:4", &[4.25, 4.5], "3:4");
    }

    #[test]
    fn a_server_on_an_older_timeline_is_not_followed() {
        check("1:3 2:4p", &[], "ServerIsBehind(TimelineId(2))");
        check("3:4", &[2.0], "ServerIsBehind(TimelineId(3))");
    }
}
