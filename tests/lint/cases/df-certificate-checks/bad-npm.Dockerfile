# lines: 3
FROM node:22
RUN npm config set strict-ssl false
