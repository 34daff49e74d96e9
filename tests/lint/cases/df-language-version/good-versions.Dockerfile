FROM debian:13@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
RUN pip install --no-cache-dir flask==3.1.0 'attrs~=25.1'
RUN python -m pip install ./wheels/app-1.0-py3-none-any.whl "numpy==${NUMPY}"
RUN npm install -g yarn@1.22.22 @angular/cli@19.0.1 && pnpm add vite@6.0.0
RUN go install golang.org/x/tools/cmd/goimports@v0.29.0 && gem install rails:8.0.0 && gem install -v 2.6.2 bundler
RUN cargo install --version 14.1.1 ripgrep
