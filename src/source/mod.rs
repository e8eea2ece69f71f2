//! What makes a file that is a log: the output of a command, standard input, the journal.
//!
//! Whatever can be made a file is a log like any other. A source writes the file; everything else
//! follows it as it follows all files, and a viewer never delays a source.

pub mod journal;
pub mod marks;
pub mod recorder;
pub mod run;
pub mod run_ends;
pub mod run_file;
pub mod span;
pub mod spool;
pub mod temporary;
