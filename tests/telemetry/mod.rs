//! What the program tells of itself: that the documents name every event and every metric and no other, that what is
//! declared is emitted, and that no line gives away what nobody may read in a log.

mod documents;
mod exposition;
mod lines;
mod scrape;
mod secrets;
