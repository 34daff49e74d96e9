# lines: 3 4 5
FROM debian:13@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
RUN npm install -g yarn @angular/cli
RUN npm i --registry https://registry.example left-pad@latest
RUN pnpm add -g vite && yarn global add serve@1.2
