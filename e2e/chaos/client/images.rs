//! Calls for images.

use std::time::Instant;

use cri_api::runtime::v1::{ListImagesRequest, PullImageRequest, RemoveImageRequest};
use e2e::request::image_spec;
use tonic::Code;

use super::{Answer, Client};
use crate::script::{IMAGES, Step};

impl Client<'_> {
    pub fn pull(&self, step: &Step) {
        // With plugins the daemon has a network of its own, in which there is no registry.
        if self.world.plugins.is_some() {
            return;
        }
        let index = step.pod % IMAGES.len();
        {
            let image = &mut self.world.model().images[index];
            image.pull_asked = Some(Instant::now());
            image.ever_pulled.note(Instant::now());
        }
        let request = PullImageRequest {
            image: Some(image_spec(IMAGES[index])),
            ..PullImageRequest::default()
        };
        let what = format!("PullImage {}", IMAGES[index]);
        let mut client = self.clients.images.clone();
        let (answer, when) = self.ask(&what, step.cancel, client.pull_image(request));
        match answer {
            Answer::Is(_) => self.world.model().images[index].pulled = Some(when),
            Answer::Refused(status) => {
                self.world.check(self.allow(&what, &status, when, &[]));
            }
            Answer::Lost => {}
        }
    }

    pub fn remove_image(&self, step: &Step) {
        let index = step.pod % IMAGES.len();
        self.world.model().images[index].remove_asked = Some(Instant::now());
        let request = RemoveImageRequest {
            image: Some(image_spec(IMAGES[index])),
        };
        let what = format!("RemoveImage {}", IMAGES[index]);
        let mut client = self.clients.images.clone();
        let (answer, when) = self.ask(&what, step.cancel, client.remove_image(request));
        match answer {
            Answer::Is(_) => self.world.model().images[index].removed = Some(when),
            Answer::Refused(status) => {
                // Somebody else removes it, which is the same.
                let allowed: [(bool, &[Code]); 1] = [(false, &[])];
                self.world.check(self.allow(&what, &status, when, &allowed));
            }
            Answer::Lost => {}
        }
    }

    pub fn list_images(&self) {
        let mut client = self.clients.images.clone();
        let request = ListImagesRequest::default();
        let (answer, when) = self.ask("ListImages", None, client.list_images(request));
        self.read_in_time("ListImages", when);
        let Answer::Is(answer) = answer else { return };
        for (index, name) in IMAGES.iter().enumerate() {
            let mut tags = answer.images.iter().flat_map(|image| &image.repo_tags);
            let there = tags.any(|tag| tag == name);
            let checked = self.world.model().images[index].seen(there, when);
            self.world
                .check(checked.map_err(|text| format!("{text}: {name}")));
        }
    }
}
