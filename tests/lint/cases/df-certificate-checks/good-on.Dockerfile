FROM node:22
ENV NODE_TLS_REJECT_UNAUTHORIZED=1
RUN npm config set strict-ssl true
