package argo

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// cluster is a Kubernetes client that can read one ConfigMap: all that Argo's config asks for. Anything else panics.
type cluster struct {
	kubernetes.Interface
	data map[string]string
}

func (c cluster) CoreV1() typedcorev1.CoreV1Interface { return core{data: c.data} }

type core struct {
	typedcorev1.CoreV1Interface
	data map[string]string
}

func (c core) ConfigMaps(string) typedcorev1.ConfigMapInterface { return configMaps{data: c.data} }

type configMaps struct {
	typedcorev1.ConfigMapInterface
	data map[string]string
}

func (c configMaps) Get(context.Context, string, metav1.GetOptions) (*corev1.ConfigMap, error) {
	return &corev1.ConfigMap{Data: c.data}, nil
}
