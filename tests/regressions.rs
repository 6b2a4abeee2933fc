//! What was once wrong with plans, held and not: each test is named by what holds since.

mod held;
mod people;
mod rows;
mod sessions;

use serde_json::Value as Json;

use crate::runs_connex::stage::{Stage, Synced, configuration};

/// Releases a held run; answers the exit code and what was said.
fn release(stage: &Stage, held: &Synced) -> (i32, String) {
    let ran = stage
        .program
        .run(&["runs", "release", &held.run(), "--plan", &held.hash()]);
    (ran.code, ran.stderr)
}

/// Takes twelve of the twenty people of `paving` out of the directory, and answers the run that holds it.
fn twelve_leave(stage: &Stage) -> Synced {
    for number in 2..=13 {
        stage.remove([format!("p{number:02}").as_str()]);
    }
    let held = stage.sync(&[]);
    held.is(10, "held");
    held
}

/// Writes the configuration of the stage with these keys in the table of its source.
fn configure_source(stage: &Stage, keys: &str) {
    let configured = configuration(&stage.db.url, &stage.url(), "");
    stage.program.configure(&format!("{configured}{keys}\n"));
}

/// The JSON object in one column of the user that an entry is linked to.
async fn object(stage: &Stage, id: &str, column: &str) -> Json {
    let column = match stage.db.url.starts_with("sqlite") {
        true => column.to_owned(),
        false => format!("CAST({column} AS text)"),
    };
    serde_json::from_str(&stage.value(id, &column).await).expect("JSON")
}
