FROM debian:13@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
RUN pip install -r requirements.txt && pip3 install --require-hashes -r dev.txt && pip install -e .
RUN npm ci && npm install && npm run install-everything && yarn install --frozen-lockfile
RUN cargo install --path .
RUN npm run install now
RUN pip install "$WHAT" git+https://git.example/a.git@0123456
