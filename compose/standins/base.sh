#!/bin/sh
# Writes a stand-in for debian:bookworm-slim to the tar file $1, from this machine's own Debian mirror.
# Two steps, never a pipe into the import: a failed first half would still tag an empty image.
set -eu
sources=
for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
    if [ -s "$file" ]; then sources=$file; break; fi
done
# Package downloads are not kept in layers; man1 must exist or some packages fail to configure;
# the bundle of trusted authorities is the host's, so that a private one works inside too.
exec mmdebstrap --quiet --variant=minbase --include=ca-certificates \
    --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Check-Valid-Until "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='echo "APT::Keep-Downloaded-Packages \"false\";" > "$1/etc/apt/apt.conf.d/keep"' \
    --customize-hook='mkdir -p "$1/usr/share/man/man1"' \
    --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl' \
    --customize-hook='mv "$1/etc/ssl/ca-certificates.crt" "$1/etc/ssl/host-ca.crt"' \
    bookworm "$1" "$sources"
