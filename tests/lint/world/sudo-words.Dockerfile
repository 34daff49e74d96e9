FROM debian:12.1
RUN echo "sudo is not used" && echo 'app ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/app
RUN chmod 4755 /x; chmod u+s,g+s /y && install -m 4755 a b
RUN chmod 0777 /tmp && chmod -R a+rwX /data && chmod 1777 /tmp
RUN find / -perm -4000 -exec chmod u-s {} \;
RUN su - app -c 'make' && runuser -u app x
RUN curl -k https://x -o y; wget --no-check-certificate https://x; git -c http.sslVerify=false clone https://x; pip install --trusted-host x y==1
RUN curl -fsSL https://deb.nodesource.com/setup_20.x | bash - && apt-get install -y nodejs
RUN bash -c "$(curl -fsSL https://x/install.sh)"
RUN sh <(curl -s https://x)
RUN wget -qO- https://x | gpg --dearmor > /usr/share/keyrings/x.gpg
RUN curl -sL https://x/a.tgz | tar -xz && curl -s https://x | sha256sum -c - && curl https://x | jq .
RUN eval "$(wget -O- https://x)"
RUN python3 -c "$(curl https://x)"; curl https://x | python3 -; curl https://x | sudo -E bash -
USER 9
HEALTHCHECK CMD x
