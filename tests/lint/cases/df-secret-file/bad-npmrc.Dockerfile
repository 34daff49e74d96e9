# lines: 3
FROM node:22
COPY .npmrc package.json ./
