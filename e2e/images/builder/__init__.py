"""Builds the images the e2e tests run, from Debian packages and the sources beside it.

tree      what a layer holds, and its tar
push      an image's config, manifest and index, and the registry they go to
debian    packages unpacked, compiled helpers, base trees
upstream  images under the names that critest and crictl users know
own       images of our own, each made to show one thing

A module uses only those above it.
"""
