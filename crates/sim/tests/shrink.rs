//! A failing script is made smaller by running less of it. What stands for a failure here is that a leader's process ended,
//! since nothing else fails on purpose.

#![allow(clippy::unwrap_used)]

use kontiki_sim::{Order, run, shrink};

#[test]
fn the_smallest_script_of_a_real_run_still_does_it() {
    let order = Order { seed: 8, profile: "crashes".to_owned(), script: None, planted: 0 };
    let text = kontiki_sim::script(&order).unwrap();
    let lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
    let ends_a_leader = |lines: &[String]| {
        let order = Order { script: Some(lines.concat()), ..order.clone() };
        run(&order, None).unwrap().marks.contains_key("leader crashed")
    };
    assert!(ends_a_leader(&lines) && !ends_a_leader(&[]));
    let least = shrink(&lines, 60, ends_a_leader);
    assert!(ends_a_leader(&least), "{least:?}");
    assert_eq!(least.len(), 1, "one fault is enough, out of {}: {least:?}", lines.len());
}
