"""The Kubernetes gate: reviews of an API server in, rulings out.

review.py     bytes of a review -> what is asked, and the answer's bytes
interpret.py  an AdmissionReview -> requests to decide
authorize.py  a SubjectAccessReview -> allowed, denied or no opinion
admission.py  requests -> one ruling, on record
"""
