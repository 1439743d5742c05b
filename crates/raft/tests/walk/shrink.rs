//! From a long list of actions that ends badly to a short one that ends as badly: delta debugging.

/// Takes out what is not needed, in ever smaller chunks, while `fails` says that the rest still fails. The result fails
/// and no single action can be taken out of it, unless `tries` ran out before.
pub fn shrink<T: Clone>(actions: &[T], mut tries: usize, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut kept = actions.to_vec();
    let mut chunk = kept.len().div_ceil(2).max(1);
    loop {
        let mut shorter = false;
        let mut begin = 0;
        while begin < kept.len() && tries > 0 {
            let end = (begin + chunk).min(kept.len());
            let rest: Vec<T> = kept[..begin].iter().chain(&kept[end..]).cloned().collect();
            tries -= 1;
            if fails(&rest) {
                kept = rest;
                shorter = true;
            } else {
                begin = end;
            }
        }
        if tries == 0 || (chunk == 1 && !shorter) {
            return kept;
        }
        if chunk > 1 {
            chunk = chunk.div_ceil(2);
        }
    }
}
