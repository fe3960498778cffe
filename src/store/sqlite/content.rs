//! Notices when the content of the file is overwritten while it is open, as `cp` does.
//!
//! In the mode that the store uses only checkpoints write to the file: they bring what the write-ahead log
//! holds. A copy that is written over it is older, or of another database.

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection, SqlitePool, sqlite::SqliteConnectOptions,
};
use tokio::time::sleep;

use super::{SqliteStore, error::from_sqlx, statements};
use crate::store::{Revision, StoreError, rows::revision_from};

/// A checkpoint writes page by page, so what is read meanwhile may make no sense. What contradicts the database
/// in so many readings, between which nothing is written, was not written by a checkpoint.
const READINGS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(25);

/// The result code `SQLITE_NOTADB`.
const NOT_A_DATABASE: &str = "26";

/// What a file holds without its log.
#[derive(Debug)]
struct Content {
    /// The version of the schema, which rises with each change of it, and with `VACUUM INTO` in the copy.
    schema: i64,
    latest: Option<Revision>,
}

impl SqliteStore {
    /// The connections to read from, if the file is still the one that was opened.
    pub(super) async fn readers(&self) -> Result<&SqlitePool, StoreError> {
        self.check_file().await?;
        Ok(&self.readers)
    }

    /// Fails when the file was replaced or overwritten while it was open.
    pub(super) async fn check_file(&self) -> Result<(), StoreError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        if file.check()?.is_none() {
            return Ok(());
        }
        let _verifying = file.verifying.lock().await;
        let (mut stamp, mut readings, mut contradicts) = (None, 0, false);
        while readings < READINGS {
            let Some(found) = file.check()? else {
                return Ok(());
            };
            if stamp != Some(found) {
                (stamp, readings) = (Some(found), 0);
            }
            readings += 1;
            contradicts = match read_content(file.path()).await {
                Ok(content) if self.may_hold(&content, file.checkpointed()).await? => {
                    file.verify(found, content.latest.map(|latest| latest.number));
                    return Ok(());
                }
                Ok(_) => true,
                // That there is no descriptor or no right to open the file, or that a checkpoint was cut
                // short, is no evidence. Where the content is damaged, SQLite reports it.
                Err(error) => is_no_database(&error),
            };
            sleep(PAUSE).await;
        }
        match (contradicts, stamp) {
            (false, Some(stamp)) => {
                file.verify(stamp, None);
                Ok(())
            }
            _ => Err(file.overwritten()),
        }
    }

    /// Whether a checkpoint may have written this.
    async fn may_hold(&self, content: &Content, before: Option<u64>) -> Result<bool, StoreError> {
        let mut reader = self.readers.acquire().await.map_err(from_sqlx)?;
        let schema = schema_version(&mut reader).await.map_err(from_sqlx)?;
        if content.schema > schema {
            return Ok(false);
        }
        let Some(latest) = content.latest else {
            return Ok(before.is_none());
        };
        if before.is_some_and(|before| latest.number < before) {
            return Ok(false);
        }
        // The log of the database as it is now leads on from there, unless it has been cut off since.
        let row = sqlx::query(statements::MARK)
            .bind(i64::try_from(latest.number).unwrap_or(i64::MAX))
            .fetch_one(&mut *reader)
            .await
            .map_err(from_sqlx)?;
        let oldest: i64 = row.try_get(0).map_err(from_sqlx)?;
        let mark: Option<i64> = row.try_get(1).map_err(from_sqlx)?;
        let cut_off = u64::try_from(oldest).is_ok_and(|oldest| latest.number < oldest);
        Ok(cut_off || mark.map(i64::cast_unsigned) == Some(latest.mark))
    }
}

/// Whether the file does not even begin as a database does.
fn is_no_database(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(|error| error.code().as_deref() == Some(NOT_A_DATABASE))
}

async fn read_content(file: &Path) -> Result<Content, sqlx::Error> {
    // Without locks and without the log.
    let options = SqliteConnectOptions::new().filename(file);
    let mut connection = options.immutable(true).read_only(true).connect().await?;
    let content = read(&mut connection).await;
    connection.close().await?;
    content
}

async fn read(connection: &mut SqliteConnection) -> Result<Content, sqlx::Error> {
    let schema = schema_version(connection).await?;
    let table = sqlx::query("SELECT 1 FROM sqlite_schema WHERE name = 'api_token_changes'")
        .fetch_optional(&mut *connection)
        .await?;
    let latest = match table {
        Some(_) => {
            let latest = sqlx::query(statements::REVISION).fetch_optional(connection);
            latest.await?
        }
        None => None,
    };
    Ok(Content {
        schema,
        latest: latest.and_then(|row| revision_from(&row).ok()),
    })
}

async fn schema_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let row = sqlx::query("PRAGMA schema_version").fetch_one(connection);
    row.await?.try_get(0)
}
