//! Where a page of a list begins and ends. A token says behind which item the next one begins, not
//! how many came before: items that go meanwhile make nothing come twice, and nothing left out.

use std::{fmt, ops::Range};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::query::Query;
use crate::error::ApiError;

/// The place of an item in its list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Lists are in the order of it. The same for all items of a list that is in an order of its own.
    pub rank: i64,
    /// Id of the item.
    pub id: String,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The items in it.
    pub items: Range<usize>,
    /// The last of them, if others follow.
    pub next: Option<Position>,
}

/// The opaque text in `$skiptoken`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(format!("{}.{}", self.rank, self.id)))
    }
}

impl Position {
    /// Reads a `$skiptoken`; `None` if it is not of our making.
    pub fn parse(token: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (rank, id) = text.split_once('.')?;
        Some(Self { rank: rank.parse().ok()?, id: id.to_owned() })
    }
}

/// The page of a list that a request is for.
///
/// # Errors
/// [`ApiError::BotQuery`]: the token is of an item that has gone, and nobody can tell where it was.
pub fn page(list: &[Position], query: &Query) -> Result<Page, ApiError> {
    let begin = match &query.after {
        None => 0,
        Some(after) => match list.iter().position(|place| place == after) {
            Some(found) => found + 1,
            None if is_ranked(list) => list.partition_point(|place| place <= after),
            None => {
                let text = "$skiptoken: the item that it follows has gone, begin again without it";
                return Err(ApiError::BotQuery(text.to_owned()));
            }
        },
    };
    let end = list.len().min(begin + query.page());
    let has_more = end < list.len() && end > begin;
    let next = has_more.then(|| list[end - 1].clone());
    Ok(Page { items: begin..end, next })
}

/// Whether the order is that of the ranks.
fn is_ranked(list: &[Position]) -> bool {
    list.windows(2).all(|pair| pair[0] < pair[1])
        && list.first().is_none_or(|first| first.rank != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(top: usize, after: Option<Position>) -> Query {
        Query { top: Some(top), after, ..Query::default() }
    }

    fn ranked(ids: impl IntoIterator<Item = i64>) -> Vec<Position> {
        ids.into_iter().map(|rank| Position { rank, id: format!("i{rank}") }).collect()
    }

    #[test]
    fn an_item_that_has_gone_does_not_lose_the_place() {
        let first = page(&ranked(1..10), &query(3, None)).expect("the first");
        assert_eq!((first.items, first.next.clone().map(|p| p.rank)), (0..3, Some(3)));
        let left = ranked([2, 5, 6, 7]);
        let second = page(&left, &query(3, first.next)).expect("the second");
        assert_eq!((second.items, second.next), (1..4, None));
    }

    #[test]
    fn a_list_in_an_order_of_its_own_is_continued_behind_the_same_item_or_not_at_all() {
        let list: Vec<_> = ["c", "a", "b"].map(|id| Position { rank: 0, id: id.to_owned() }).into();
        let first = page(&list, &query(2, None)).expect("the first");
        assert_eq!(first.next.as_ref().map(|p| p.id.as_str()), Some("a"));
        assert_eq!(page(&list, &query(2, first.next.clone())).expect("the second").items, 2..3);
        let error = page(&list[..1], &query(2, first.next)).expect_err("it has gone");
        assert!(error.to_string().starts_with("$skiptoken: "), "{error}");
    }

    #[test]
    fn only_our_own_tokens_are_read() {
        let place = Position { rank: -5, id: "x.y".to_owned() };
        assert_eq!(Position::parse(&place.to_string()), Some(place));
        for bad in ["", "x", "MQ", "\u{e9}", "LjE"] {
            assert_eq!(Position::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_pages_of_a_list_are_the_list(length in 0_i64..60, top in 1_usize..20) {
            let list = ranked(1..=length);
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = page(&list, &query(top, after)).expect("a page");
                prop_assert!(page.items.len() <= top);
                seen.extend_from_slice(&list[page.items]);
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            prop_assert_eq!(seen, list);
        }
    }
}
