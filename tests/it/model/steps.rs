//! The random operations on a log.

use std::fs::File;
use std::time::Duration;

use crate::servers::pace;

use super::log::Model;

/// The operations in which the file keeps its name.
const IN_PLACE: [u64; 6] = [10, 11, 12, 13, 18, 19];

impl Model {
    /// One random operation, which may consist of several system calls with pauses between them.
    pub async fn step(&mut self) {
        self.steps += 1;
        let present = match self.present {
            Some(present) => present,
            None => self.create(),
        };
        let size = self.files[present].epochs.last().unwrap().len() as u64;
        let mut what = self.random.below(22);
        if !self.turns && !IN_PLACE.contains(&what) {
            what = 0;
        }
        match what {
            0..7 => {
                let len = self.random.size();
                self.append(present, len);
            }
            7..9 => {
                let old = self.rename_away(present);
                self.perhaps_late(present).await;
                self.perhaps_close(old);
                self.create();
            }
            9 => {
                let path = self.name("next");
                let next = self.file(path.clone());
                let len = self.random.size();
                self.append(next, len);
                let old = self.leave();
                std::fs::rename(path, &self.real).unwrap();
                self.enter(next);
                self.files[next].path = self.real.clone();
                self.files[present].linked = false;
                self.note(format_args!("rename file {next} over file {present}"));
                self.perhaps_close(old);
            }
            10 => {
                let copy = self.name("copy");
                std::fs::copy(&self.real, copy).unwrap();
                self.truncate(present, 0);
            }
            11 => {
                let to = self.random.below(size + 1);
                self.truncate(present, to);
            }
            12..14 => {
                self.truncate(present, 0);
                let smaller = self.random.below(size.max(1)) as usize;
                let refill = match self.random.below(3) {
                    0 => smaller.max(1),
                    1 => (size as usize).clamp(1, 1 << 20),
                    _ => size as usize % (1 << 20) + self.random.size(),
                };
                self.append(present, refill);
            }
            14 => {
                let old = self.leave();
                std::fs::remove_file(&self.real).unwrap();
                self.files[present].linked = false;
                self.note(format_args!("unlink file {present}"));
                self.perhaps_late(present).await;
                self.perhaps_close(old);
                self.create();
            }
            15 | 16 => {
                let held: Vec<usize> = (0..self.files.len())
                    .filter(|&file| Some(file) != self.present && self.files[file].handle.is_some())
                    .filter(|&file| !self.files[file].presences.is_empty())
                    .collect();
                let recent = self.random.below(held.len().min(3) as u64) as usize;
                if let Some(&old) = held.iter().rev().nth(recent) {
                    let len = self.random.size().min(1 << 16);
                    self.append(old, len);
                    if self.random.one_in(8) {
                        self.truncate(old, 0);
                    }
                }
            }
            17 => {
                let old = self.leave();
                let directory = self.root.join("d");
                std::fs::remove_dir_all(&directory).unwrap();
                // A link may have led to an old file elsewhere.
                if !self.real.starts_with(&directory) {
                    std::fs::remove_file(&self.real).unwrap();
                }
                self.files[present].linked = false;
                for file in self.files.iter_mut().filter(|file| file.path.starts_with(&directory)) {
                    file.linked = false;
                }
                self.note(format_args!("remove the directory with file {present}"));
                self.perhaps_late(present).await;
                self.perhaps_close(old);
                self.make_directory();
                self.create();
            }
            18 => match self.link.clone().filter(|_| self.turns) {
                Some(link) => self.retarget(&link, present),
                None => self.hard(present),
            },
            19 => self.hard(present),
            _ => {
                let len = self.random.size();
                self.write_anew(present, len);
            }
        }
    }

    async fn perhaps_late(&mut self, file: usize) {
        if self.random.one_in(3) {
            let len = self.random.size().min(1 << 16);
            self.append(file, len);
        }
        self.pause().await;
    }

    fn retarget(&mut self, link: &std::path::Path, present: usize) {
        let back: Vec<usize> = (0..self.files.len())
            .filter(|&file| file != present && self.files[file].linked)
            .filter(|&file| self.files[file].handle.is_some())
            .collect();
        let chosen = self.random.below(back.len().max(1) as u64) as usize;
        let next = match back.get(chosen) {
            Some(&old) if self.random.one_in(2) => old,
            _ => {
                let path = self.name("target");
                let next = self.file(path);
                let len = self.random.size();
                self.append(next, len);
                next
            }
        };
        let aside = self.root.join("new-link");
        std::os::unix::fs::symlink(&self.files[next].path, &aside).unwrap();
        self.leave();
        std::fs::rename(aside, link).unwrap();
        self.enter(next);
        self.real = self.files[next].path.clone();
        self.note(format_args!("link from file {present} to file {next}"));
    }

    fn hard(&mut self, present: usize) {
        self.names += 1;
        let other = self.root.join(format!("elsewhere/hard.{}", self.names));
        std::fs::hard_link(&self.real, &other).unwrap();
        let through = File::options().append(true).open(other).unwrap();
        let len = self.random.size();
        let bytes = self.bytes(present, len);
        self.note(format_args!("through a hard link:"));
        self.write(present, &bytes, Some(through));
    }

    pub async fn pause(&mut self) {
        let millis = match self.random.below(40) {
            0..14 => return,
            14..30 => self.random.below(30),
            30..37 => 50 + self.random.below(350),
            37 | 38 => 600 + self.random.below(600),
            _ => 2600,
        };
        pace(Duration::from_millis(millis)).await;
    }
}
