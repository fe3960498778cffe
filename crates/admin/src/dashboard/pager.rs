//! The links between the pages of a listing.
//!
//! The stores list in one direction. So the URL of a page also has the cursors of the pages before it,
//! which the link to the previous page needs.

use askama::{Template, filters::HtmlSafe};

use super::{page::query_string, total::Total};

/// How many cursors of previous pages a URL has at most.
const MAX_TRAIL: usize = 30;

/// The value of `back` in front of the cursors, if some were left out.
const LEFT_OUT: &str = "-";

/// The place of a page in its listing, as in the URL.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place<'q> {
    /// The cursor of the page; empty for the first one.
    pub(super) after: &'q str,
    /// The cursors of the pages before it, except for the first one.
    pub(super) back: &'q str,
    /// Whether the records are to be counted: not empty if so.
    pub(super) count: &'q str,
}

impl Place<'_> {
    pub(super) fn is_first(&self) -> bool {
        self.after.is_empty()
    }

    pub(super) fn counts(&self) -> bool {
        !self.count.is_empty()
    }

    fn trail(&self) -> Vec<&str> {
        let cursors = self.back.split(',').filter(|cursor| !cursor.is_empty());
        cursors.collect()
    }

    /// Returns the value of `back` on the next page.
    fn trail_of_next(&self) -> String {
        let mut trail = self.trail();
        if !self.is_first() {
            trail.push(self.after);
        }
        if trail.len() > MAX_TRAIL {
            let kept = trail.split_off(trail.len() - MAX_TRAIL);
            trail = [LEFT_OUT].into_iter().chain(kept).collect();
        }
        trail.join(",")
    }

    /// Returns the cursor of the previous page, and the value of `back` there. Returns `None` on the
    /// first page, and if the cursor was left out.
    fn previous(&self) -> Option<(String, String)> {
        if self.is_first() {
            return None;
        }
        let mut trail = self.trail();
        match trail.pop() {
            Some(LEFT_OUT) => None,
            after => Some((after.unwrap_or_default().to_owned(), trail.join(","))),
        }
    }
}

/// The links between the pages of a listing, its size and its export.
#[derive(Template)]
#[template(path = "pager.html")]
pub(super) struct Pager {
    first: Option<String>,
    previous: Option<String>,
    next: Option<String>,
    next_label: &'static str,
    /// The size of the listing, or an explanation why it is not known.
    total: Option<String>,
    /// The link that counts.
    count: Option<String>,
    /// The link to the export.
    export: String,
}

impl HtmlSafe for Pager {}

/// What a listing needs for its [`Pager`].
pub(super) struct Listing<'q> {
    /// The full path of the page.
    pub(super) path: &'q str,
    /// The full path of the export.
    pub(super) export: String,
    /// The filter, as in the URL.
    pub(super) filter: &'q [(&'q str, &'q str)],
    pub(super) place: Place<'q>,
    /// What the records are, in the singular.
    pub(super) noun: &'q str,
}

impl Listing<'_> {
    fn link(&self, after: &str, back: &str, count: &str) -> String {
        let mut fields = self.filter.to_vec();
        fields.extend([("after", after), ("back", back), ("count", count)]);
        format!("{}{}", self.path, query_string(&fields))
    }

    /// Creates the links. `shown` is what the page itself shows of the listing, and `counted` is the
    /// result of counting.
    pub(super) fn pager(
        &self,
        next: Option<String>,
        shown: Total,
        counted: Option<Total>,
    ) -> Pager {
        let place = self.place;
        let is_whole = place.is_first() && matches!(shown, Total::Exactly(_));
        let total = match (is_whole, counted) {
            (true, _) => Some(shown.of(self.noun)),
            (false, Some(counted)) => Some(counted.of(self.noun)),
            (false, None) if place.counts() => Some("Couldn't count".to_owned()),
            (false, None) => None,
        };
        Pager {
            first: (!place.is_first()).then(|| self.link("", "", "")),
            previous: place
                .previous()
                .map(|(after, back)| self.link(&after, &back, "")),
            next: next.map(|next| self.link(&next, &place.trail_of_next(), "")),
            next_label: "Next page",
            count: total
                .is_none()
                .then(|| self.link(place.after, place.back, "yes")),
            total,
            export: format!("{}{}", self.export, query_string(self.filter)),
        }
    }
}

impl Pager {
    /// Sets the label of the link to the next page.
    pub(super) fn next_label(mut self, label: &'static str) -> Self {
        self.next_label = label;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place<'q>(after: &'q str, back: &'q str) -> Place<'q> {
        Place {
            after,
            back,
            count: "",
        }
    }

    #[test]
    fn the_previous_pages_lead_back_to_the_first_one() {
        let (mut after, mut back) = (String::new(), String::new());
        for next in ["a", "b", "c"] {
            back = place(&after, &back).trail_of_next();
            after = next.to_owned();
        }
        assert_eq!((after.as_str(), back.as_str()), ("c", "a,b"));
        for before in ["b", "a", ""] {
            (after, back) = place(&after, &back).previous().unwrap();
            assert_eq!(after, before);
        }
        assert_eq!(place(&after, &back).previous(), None);
    }

    #[test]
    fn a_long_trail_ends_before_the_cursors_that_were_left_out() {
        let (mut after, mut back) = (String::new(), String::new());
        for next in 0..100 {
            back = place(&after, &back).trail_of_next();
            after = next.to_string();
        }
        assert!(back.len() < 100, "{back}");
        for before in (99 - MAX_TRAIL..99).rev() {
            (after, back) = place(&after, &back).previous().unwrap();
            assert_eq!(after, before.to_string());
        }
        assert_eq!(place(&after, &back).previous(), None);
    }
}
