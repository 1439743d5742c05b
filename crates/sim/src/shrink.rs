//! Finding the smallest part of a script that still fails (delta debugging, after Zeller and Hildebrandt).

/// Leaves out lines as long as what is left still fails, and gives the least that was found with at most `attempts` tries. The
/// result cannot be made smaller by leaving out any one line, unless the attempts ran out.
pub fn shrink<T: Clone>(lines: &[T], attempts: usize, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut least = lines.to_vec();
    let mut left = attempts;
    let mut parts = 2;
    while least.len() > 1 && left > 0 {
        let size = least.len().div_ceil(parts);
        let mut smaller = None;
        for begin in (0..least.len()).step_by(size) {
            let end = least.len().min(begin + size);
            let rest = [&least[..begin], &least[end..]].concat();
            if left == 0 {
                break;
            }
            left -= 1;
            if fails(&rest) {
                smaller = Some(rest);
                break;
            }
        }
        match smaller {
            Some(rest) => {
                least = rest;
                parts = parts.saturating_sub(1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(least.len()),
        }
    }
    if least.len() == 1 && left > 0 && fails(&[]) {
        least.clear();
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_left_and_nothing_else() {
        let lines: Vec<u32> = (0..200).collect();
        let mut tries = 0;
        let least = shrink(&lines, 10_000, |lines| {
            tries += 1;
            [17, 90, 91, 160].iter().all(|needed| lines.contains(needed))
        });
        assert_eq!(least, [17, 90, 91, 160]);
        assert!(tries < 200, "{tries} attempts");
    }

    #[test]
    fn a_failure_that_needs_no_line_leaves_none() {
        assert!(shrink(&[1, 2, 3], 100, |_| true).is_empty());
    }

    #[test]
    fn attempts_are_bounded() {
        let lines: Vec<u32> = (0..1_000).collect();
        let mut tries = 0;
        let least = shrink(&lines, 7, |lines| {
            tries += 1;
            lines.contains(&999)
        });
        assert_eq!(tries, 7);
        assert!(least.contains(&999));
    }
}
