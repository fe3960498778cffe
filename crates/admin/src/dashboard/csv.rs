//! Listings as CSV files (RFC 4180), streamed page by page.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::header;
use tower_api_tokens::{Page, store::records};

use crate::operations::OperationError;

/// How many records are read at a time.
pub(super) const READ_AT_ONCE: usize = 500;

/// How many pages of that size a file has at most.
const MAX_PAGES: usize = 200;

/// The last row of a file that does not have the whole listing.
const LIMIT_REACHED: &str = "The export ends here, after 100,000 records. To get the others, narrow \
     the filter or use the JSON API.";

/// A file and its columns.
pub(super) struct File {
    pub(super) name: &'static str,
    pub(super) columns: &'static [&'static str],
}

/// The rows of a page, and the cursor of the next one.
pub(super) type Rows<K> = Page<Vec<String>, K>;

impl File {
    /// Returns the file as a download. `read` reads the rows of the page after a cursor.
    ///
    /// A page is read when the client has received the one before. If the store fails after the first
    /// page, the response ends without its last chunk, so that the client sees a failed download.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails to return the first page.
    pub(super) async fn download<K, R>(
        self,
        mut read: impl FnMut(Option<K>) -> R + Send + 'static,
    ) -> Result<Response, OperationError>
    where
        K: Clone + Send + 'static,
        R: Future<Output = Result<Rows<K>, OperationError>> + Send + 'static,
    {
        let mut first = Some(read(None).await?);
        let mut pages = 0;
        let columns = self.columns;
        let chunks = records(None, move |after| {
            pages += 1;
            let (number, first) = (pages, first.take());
            let reading = first.is_none().then(|| read(after));
            async move {
                let page = match (first, reading) {
                    (Some(page), _) => page,
                    (None, Some(reading)) => reading.await?,
                    (None, None) => Page::empty(),
                };
                Ok::<_, OperationError>(chunk(number, columns, page))
            }
        });
        let fields = [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
            (
                header::CONTENT_DISPOSITION,
                format!("attachment; filename=\"{}\"", self.name),
            ),
        ];
        Ok((fields, Body::from_stream(chunks)).into_response())
    }
}

/// Returns the part of the file with this page of rows.
fn chunk<K>(number: usize, columns: &[&str], page: Rows<K>) -> Page<Bytes, K> {
    let mut text = String::new();
    if number == 1 {
        write_row(&mut text, columns.iter().copied());
    }
    for row in &page.items {
        write_row(&mut text, row.iter().map(String::as_str));
    }
    let next = page.next.filter(|_| {
        let is_last = number == MAX_PAGES;
        if is_last {
            write_row(&mut text, [LIMIT_REACHED].into_iter());
        }
        !is_last
    });
    Page::new(vec![Bytes::from(text)], next)
}

fn write_row<'c>(text: &mut String, cells: impl Iterator<Item = &'c str>) {
    for (column, cell) in cells.enumerate() {
        if column > 0 {
            text.push(',');
        }
        write_cell(text, cell);
    }
    text.push_str("\r\n");
}

/// Returns the cell of a value that a record may lack.
pub(super) fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// Writes a cell. An apostrophe keeps spreadsheets from running text as a formula.
fn write_cell(text: &mut String, cell: &str) {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let is_quoted = is_formula || cell.contains([',', ';', '"', '\'', '\r', '\n', '\t']);
    if !is_quoted {
        text.push_str(cell);
        return;
    }
    text.push('"');
    if is_formula {
        text.push('\'');
    }
    text.push_str(&cell.replace('"', "\"\""));
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_and_no_formula() {
        for (cell, written) in [
            ("", ""),
            ("nightly export", "nightly export"),
            ("a,b", "\"a,b\""),
            ("say \"so\"", "\"say \"\"so\"\"\""),
            ("a\r\nb", "\"a\r\nb\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("a=1", "a=1"),
        ] {
            let mut text = String::new();
            write_cell(&mut text, cell);
            assert_eq!(text, written);
        }
    }

    #[test]
    fn a_long_listing_ends_with_a_note() {
        let page = |next| Page::new(vec![vec!["x".to_owned()]], next);
        let last = chunk(MAX_PAGES, &["id"], page(Some(1)));
        assert_eq!(last.next, None);
        assert!(last.items[0].ends_with(b"JSON API.\"\r\n"));
        let whole = chunk(MAX_PAGES, &["id"], page(None));
        assert_eq!(whole.items[0], "x\r\n");
        let before = chunk(MAX_PAGES - 1, &["id"], page(Some(1)));
        assert_eq!((before.next, &*before.items[0]), (Some(1), &b"x\r\n"[..]));
        assert_eq!(READ_AT_ONCE * MAX_PAGES, 100_000);
    }
}
