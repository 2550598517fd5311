//! Lists in pages: where one begins, how long it is, and where the next one begins.

use keys::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    error::ApiError,
    limits::{PAGE_CURSOR_CHARACTERS_MAX, PAGE_ENTRIES, PAGE_ENTRIES_MAX},
};

/// Which page is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// What the page before said in `next`; the first page without it.
    #[param(max_length = 200)]
    pub(crate) after: Option<String>,
    /// Entries of the page; 50 unless told otherwise.
    #[param(minimum = 1, maximum = 100)]
    pub(crate) limit: Option<usize>,
}

/// Cuts a page out of entries that are in the order of their keys; also the key behind which the next page begins.
pub(crate) fn page<T>(
    entries: Vec<T>,
    query: &PageQuery,
    key: impl Fn(&T) -> String,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let limit = query.limit.unwrap_or(PAGE_ENTRIES);
    if !(1..=PAGE_ENTRIES_MAX).contains(&limit) {
        return Err(ApiError::BodyInvalid(format!("`limit` is 1 to {PAGE_ENTRIES_MAX}")));
    }
    let after = query.after.as_deref();
    if after.is_some_and(|after| after.chars().count() > PAGE_CURSOR_CHARACTERS_MAX) {
        return Err(ApiError::BodyInvalid("`after` is too long".into()));
    }
    let mut rest = entries
        .into_iter()
        .filter(|entry| after.is_none_or(|after| key(entry).as_str() > after));
    let page: Vec<T> = rest.by_ref().take(limit).collect();
    let next = if rest.next().is_some() {
        page.last().map(key)
    } else {
        None
    };
    Ok((page, next))
}

/// The key of an entry in a list that has the newest first.
pub(crate) fn newest_first(at: Timestamp, id: impl std::fmt::Display) -> String {
    format!("{:016x}{id}", u64::MAX - at.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let entries: Vec<u32> = (100..217).collect();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let query = PageQuery { after, limit: Some(10) };
            let (page, next) = page(entries.clone(), &query, u32::to_string).unwrap();
            seen.extend(page);
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, entries);
        for limit in [0, 101] {
            assert!(
                page(
                    entries.clone(),
                    &PageQuery {
                        after: None,
                        limit: Some(limit)
                    },
                    u32::to_string
                )
                .is_err()
            );
        }
    }
}
