	FROM	alpine:3.19	AS	x
	RUN	apk	add	--no-cache	bash
	ENV	A=b	C="d e"	PASSWORD=hunter2secret
	EXPOSE	22	80/tcp	8080-8090
	USER	root
