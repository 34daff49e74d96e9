FROM node:20.11.1-alpine3.19
ONBUILD COPY package*.json ./
ONBUILD RUN npm install && sudo chmod -R 777 /app
ONBUILD USER root
ONBUILD ADD https://x/y /z
USER node
HEALTHCHECK CMD wget -qO- localhost || exit 1
