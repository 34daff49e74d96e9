FROM debian:13@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
RUN apt-get update && apt-get install -y curl=8.1-1 ./local.deb
RUN apk add --no-cache 'gcc=14.2.0-r4' 'musl-dev~=1.2' "pkg$SUFFIX"
RUN dnf install -y httpd-2.4.62 && zypper in 'nginx>=1.27'
