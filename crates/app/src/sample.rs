//! Seeded data for people who try the service without setting anything up.

use cavra_domain::time::Timestamp;
use serde_json::Value;

use crate::import::{ImportOptions, ImportReport, ImportSource, Unwatched};
use crate::{App, AppError};

/// The instant that the sample's story is told at: it is moved to now.
pub const SAMPLE_NOW: &str = "2026-06-01T12:00:00Z";

impl App {
    /// Imports a published store's JSON with every time in it moved, so that [`SAMPLE_NOW`] becomes now.
    ///
    /// # Errors
    /// [`AppError::ImportUnreadable`] when the text is not JSON, else as [`App::import`].
    pub fn seed(&self, published_store: &str) -> Result<ImportReport, AppError> {
        let mut store: Value = serde_json::from_str(published_store)
            .map_err(|error| AppError::ImportUnreadable(error.to_string()))?;
        let told_at =
            Timestamp::parse(SAMPLE_NOW).map_err(|error| AppError::ImportUnreadable(error.to_string()))?;
        move_times(&mut store, self.now().micros_since(told_at));
        let text = std::io::Cursor::new(store.to_string());
        self.import(
            vec![ImportSource::Text(Box::new(text))],
            ImportOptions::default(),
            Box::new(Unwatched),
        )
    }
}

/// Moves every text that is a time.
fn move_times(value: &mut Value, by_micros: i64) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| move_times(item, by_micros)),
        Value::Object(members) => members
            .values_mut()
            .for_each(|member| move_times(member, by_micros)),
        Value::String(text) => {
            // A date without a time of day is no instant.
            if text.len() >= 19
                && let Ok(at) = Timestamp::parse_published(text)
            {
                *text = at.plus_micros(by_micros).to_string();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_move_and_everything_else_stays() {
        let mut value = json!({
            "created_at": "2026-06-01T10:00:00+00:00",
            "list": ["2026-06-01T12:00:00Z", "2026-06-01", "due in 3 days"],
            "count": 3,
        });
        move_times(&mut value, 60_000_000);
        assert_eq!(
            value,
            json!({
                "created_at": "2026-06-01T10:01:00.000000Z",
                "list": ["2026-06-01T12:01:00.000000Z", "2026-06-01", "due in 3 days"],
                "count": 3,
            })
        );
    }
}
