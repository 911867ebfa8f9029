//! What really happened, put together from what all clients saw: one event at each place of each channel, and one place
//! for each publication.

use std::collections::BTreeMap;

/// A channel's name and epoch.
type Life = (String, String);

#[derive(Default)]
pub(crate) struct Truth {
    events: BTreeMap<Life, BTreeMap<u64, String>>,
    /// Where each publication was seen or acknowledged, by its unique text.
    places: BTreeMap<String, (String, u64)>,
}

impl Truth {
    /// Somebody saw `body` at `offset`; everybody must see the same there.
    pub(crate) fn saw(
        &mut self,
        channel: &str,
        epoch: &str,
        offset: u64,
        body: &str,
        publication: &str,
    ) -> Result<(), String> {
        let events = self.events.entry((channel.to_owned(), epoch.to_owned())).or_default();
        let known = events.entry(offset).or_insert_with(|| body.to_owned());
        if known != body {
            return Err(format!("{channel} has two events at {offset}: {known} and {body}"));
        }
        self.placed(channel, offset, publication)
    }

    /// A publication has this place; it must not have two.
    pub(crate) fn placed(&mut self, channel: &str, offset: u64, publication: &str) -> Result<(), String> {
        let place = (channel.to_owned(), offset);
        let known = self.places.entry(publication.to_owned()).or_insert_with(|| place.clone());
        if *known == place {
            Ok(())
        } else {
            Err(format!("publication {publication} has two places: {known:?} and {place:?}"))
        }
    }
}
