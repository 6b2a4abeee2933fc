//! The schedule across clock changes, missed times and clocks that jump.

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().expect("time")
}

fn schedule(cron: &str, zone: &str) -> Schedule {
    Schedule::new(cron, zone, Duration::ZERO).expect("schedule")
}

fn next(cron: &str, zone: &str, now: &str, count: usize) -> Vec<String> {
    let times = schedule(cron, zone).next_times(at(now), count);
    times.iter().map(ToString::to_string).collect()
}

#[test]
fn three_in_the_morning_stays_three_in_the_morning() {
    // Paris, 29 March 2026: 02:00 becomes 03:00. 25 October 2026: 03:00 becomes 02:00.
    assert_eq!(
        next("0 0 3 * * *", "Europe/Paris", "2026-03-27T12:00:00Z", 3),
        ["2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]
    );
    assert_eq!(
        next("0 0 3 * * *", "Europe/Paris", "2026-10-23T12:00:00Z", 3),
        ["2026-10-24T01:00:00Z", "2026-10-25T02:00:00Z", "2026-10-26T02:00:00Z"]
    );
}

#[test]
fn an_hour_that_does_not_exist_is_made_up_for_and_one_that_comes_twice_counts_once() {
    for (zone, gap, fold) in [
        ("America/Chicago", "2026-03-08", "2026-11-01"),
        ("Europe/Paris", "2026-03-29", "2026-10-25"),
        ("Australia/Sydney", "2026-10-04", "2026-04-05"),
    ] {
        for day in [gap, fold] {
            let tz = TimeZone::get(zone).expect("zone");
            let midnight = |text: &str| {
                let date: jiff::civil::Date = text.parse().expect("date");
                date.to_zoned(tz.clone()).expect("midnight")
            };
            let start = midnight(day);
            let end = start.tomorrow().expect("tomorrow").start_of_day().expect("midnight");
            // Half past one and half past two: one of them is in the gap, or comes twice.
            for cron in ["0 30 1 * * *", "0 30 2 * * *"] {
                let before = start.timestamp() - jiff::Span::new().seconds(1);
                let runs = schedule(cron, zone)
                    .next_times(before, 3)
                    .into_iter()
                    .filter(|t| *t < end.timestamp())
                    .count();
                assert_eq!(runs, 1, "{zone} {day} {cron}");
            }
        }
    }
}

#[test]
fn a_source_is_planned_first_then_run_when_it_is_due() {
    let hourly = schedule("0 0 * * * *", "UTC");
    let now = at("2026-11-21T10:20:00Z");
    let (due, later) = (at("2026-11-21T11:00:00Z"), at("2026-11-21T12:00:00Z"));
    assert_eq!(hourly.step("a", None, None, now), Step::Plan(due));
    assert_eq!(hourly.step("a", Some(hourly.text()), Some(due), now), Step::Wait);
    assert_eq!(hourly.step("a", Some(hourly.text()), Some(due), due), Step::Run(later));
    assert_eq!(
        hourly.step("a", Some("0 0 3 * * * UTC"), Some(at("2026-11-22T03:00:00Z")), now),
        Step::Plan(due),
        "another schedule was configured"
    );
}

#[test]
fn what_was_missed_is_caught_up_once_and_a_clock_that_jumps_does_no_harm() {
    let hourly = schedule("0 0 * * * *", "UTC");
    let text = Some(hourly.text());
    let due = at("2026-11-21T11:00:00Z");
    // Down for four days, or the clock jumps by a year: one run, and then the next hour.
    assert_eq!(
        hourly.step("a", text, Some(due), at("2026-11-25T09:59:00Z")),
        Step::Run(at("2026-11-25T10:00:00Z"))
    );
    assert_eq!(
        hourly.step("a", text, Some(due), at("2027-11-21T11:00:00Z")),
        Step::Run(at("2027-11-21T12:00:00Z"))
    );
    // Back by a year: it is due within the hour, not in a year.
    assert_eq!(
        hourly.step("a", text, Some(due), at("2025-11-21T10:59:59Z")),
        Step::Plan(at("2025-11-21T11:00:00Z"))
    );
}

#[test]
fn jitter_delays_within_its_bound_and_differs() {
    let spread = Schedule::new("0 0 * * * *", "UTC", Duration::from_secs(300)).expect("schedule");
    let now = at("2026-11-21T10:20:00Z");
    let starts: Vec<i64> = ["a", "b", "c", "d"]
        .iter()
        .map(|name| match spread.step(name, None, None, now) {
            Step::Plan(t) => t.as_second() - at("2026-11-21T11:00:00Z").as_second(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(starts.iter().all(|s| (0..=300).contains(s)), "{starts:?}");
    assert!(starts.iter().any(|s| *s != starts[0]), "{starts:?}");
    // Planned with jitter, it is left where it is.
    let due = at("2026-11-21T11:00:00Z") + jiff::Span::new().seconds(starts[0]);
    assert_eq!(spread.step("a", Some(spread.text()), Some(due), now), Step::Wait);
}

#[test]
fn what_is_no_schedule_is_refused_in_a_sentence() {
    for (cron, zone) in [
        ("* * * * *", "UTC"),
        ("0 61 * * * *", "UTC"),
        ("0 0 3 * * *", "Mars/Olympus"),
    ] {
        let refused = Schedule::new(cron, zone, Duration::ZERO).expect_err(cron);
        assert!(
            refused.contains("six fields") || refused.contains("time zone"),
            "{refused}"
        );
    }
}
