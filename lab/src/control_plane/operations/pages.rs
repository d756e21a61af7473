//! Pages of long answers: `PageSize`, `Marker`, `NextMarker`.

use crate::control_plane::error::ApiError;
use crate::control_plane::validate::within;

/// The largest page that may be asked for, in every Describe operation (service model).
const MAX_PAGE_SIZE: u16 = 400;

/// Cuts one page out of the whole answer. The second part is the marker of the next page, if there is one.
///
/// AWS's marker is opaque; here it is the position at which the next page begins. So a list that changes between two pages
/// may repeat or skip an item, which callers must expect of AWS too.
pub(crate) fn page<T>(
    all: Vec<T>,
    page_size: Option<u16>,
    marker: Option<&str>,
    default_page_size: u16,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let size = page_size.unwrap_or(default_page_size);
    within("PageSize", size, 1, MAX_PAGE_SIZE)?;
    let start = match marker {
        None => 0,
        Some(marker) => usize::from_str_radix(marker, 16)
            .map_err(|_| ApiError::validation(format!("'{marker}' is not a valid marker")))?,
    };
    let size = usize::from(size);
    let end = start.saturating_add(size);
    let next = (all.len() > end).then(|| format!("{end:016x}"));
    Ok((all.into_iter().skip(start).take(size).collect(), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_together_are_the_whole() {
        let all: Vec<u32> = (0..10).collect();
        for size in 1..=11 {
            let mut seen = Vec::new();
            let mut marker = None;
            loop {
                let (items, next) = page(all.clone(), Some(size), marker.as_deref(), 3).expect("a page");
                assert!(items.len() <= usize::from(size));
                seen.extend(items);
                marker = next;
                if marker.is_none() {
                    break;
                }
            }
            assert_eq!(seen, all, "page size {size}");
        }
    }

    #[test]
    fn the_default_size_is_used_when_none_is_asked_for() {
        let (items, next) = page(vec![1, 2, 3, 4], None, None, 3).expect("a page");
        assert_eq!(items, [1, 2, 3]);
        assert!(next.is_some());
    }

    #[test]
    fn sizes_out_of_range_and_foreign_markers_are_refused() {
        for (size, marker) in [(Some(0), None), (Some(401), None), (Some(1), Some("not-a-marker"))] {
            let error = page(vec![1], size, marker, 3).expect_err("must be refused");
            assert_eq!(error.code, "ValidationError");
        }
        assert_eq!(page(vec![1], Some(1), Some("ffffffffffffffff"), 3), Ok((vec![], None)));
    }
}
