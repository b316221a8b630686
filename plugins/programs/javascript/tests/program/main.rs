//! What the engine promises to the programs that it runs, kept against the engine itself: built for this machine, as a process.

#[cfg(test)]
mod expecting;
#[cfg(test)]
mod language;
#[cfg(test)]
mod modules;
#[cfg(test)]
mod support;
#[cfg(test)]
mod testing;
