FROM fedora:40
RUN dnf install -y httpd-2.4.59-2.fc40 && dnf clean all
RUN dnf -y install --setopt=install_weak_deps=False git python3.12 && dnf -y clean all && rm -rf /var/cache/yum
RUN microdnf install -y openssl && microdnf clean all
RUN zypper --non-interactive install -y curl && zypper clean -a
RUN apk add --no-cache --virtual .build-deps gcc=13.2.1_git20231014-r0 && apk del .build-deps
RUN apk add --update --no-cache 'python3~=3.11' bash>5
RUN pip install -r requirements.txt && pip install --no-cache-dir . && pip install -e . && pip install ./x.whl && pip3 install 'a==1' "b>=2" c
RUN npm install && npm ci && npm install -g npm@10.5.0 yarn@latest && npm i left-pad
RUN gem install bundler -v 2.5.6 && gem install rails:7.1.3 rake
RUN go install golang.org/x/tools/cmd/stringer@v0.19.0 && go get x@latest
RUN cargo install ripgrep --version 14.1.0 --locked
RUN apt-get install -y ./local.deb /tmp/x.deb "$PKGS" $(cat list) foo=1.* bar/stable && apt-get dist-upgrade -y
RUN yum -y update && yum install -y https://x/y.rpm epel-release
USER 7
HEALTHCHECK CMD x
